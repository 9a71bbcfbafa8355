// Every action is a POST that acts once, however often it is sent, and says what stood in its way.
import type { Problem } from "./types";

export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** GET something of the API as JSON.
 *
 * @throws Refused the hub said no; its problem document says why.
 */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  return answerOf<T>(await fetch(path, signal ? { signal } : {}));
}

/** POST an action.
 *
 * @param path below the API's root.
 * @param body what the action needs to know.
 * @param version of what is acted upon, as the person saw it; undefined: whatever it is.
 * @throws Refused
 */
export async function act<T = unknown>(path: string, body: object = {}, version?: number): Promise<T> {
  const headers: Record<string, string> = {
    "Content-Type": "application/json",
    "Idempotency-Key": newKey(),
  };
  if (version !== undefined) headers["If-Match"] = `"${version}"`;
  const request = { method: "POST", headers, body: JSON.stringify(body) };
  try {
    return await answerOf<T>(await fetch(path, request));
  } catch (error) {
    if (error instanceof Refused) throw error;
    // The line broke: whether it acted is unknown. The same key again acts at most once.
    return answerOf<T>(await fetch(path, request));
  }
}

/** A key nobody else has; `crypto.randomUUID` is missing on plain HTTP. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function answerOf<T>(answer: Response): Promise<T> {
  if (answer.ok) return (await answer.json()) as T;
  throw new Refused(await problemOf(answer));
}

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const problem = (await answer.json()) as Problem;
    if (typeof problem.detail === "string") return problem;
  } catch {
    // not one of ours
  }
  const status = answer.status;
  return {
    type: "about:blank",
    title: "No answer",
    title_zh: "无应答",
    status,
    detail: `The hub answered ${status} without a reason.`,
    detail_zh: `平台返回 ${status}，未说明原因。`,
  };
}
