// What staff do: each action asks for what it needs, acts once, and says what came of it.
import { act, ask, Refused } from "./act";
import { hub } from "./live/hub.svelte";
import { toasts } from "./toasts.svelte";
import { view } from "./view.svelte";
import type { Alarm, Case, Incident, OneIncident } from "./types";
import type { Key } from "./words";

/** What a dialog asks before an action. */
export interface Question {
  title: string;
  /** Short reasons to pick from; empty: none is needed. */
  reasons: Key[];
  /** Whether a department is to be chosen. */
  dept: boolean;
  /** The department that is likely. */
  likely?: string;
  /** Whether free text is needed, and its label. */
  text?: Key;
  go: (answer: { text: string; dept: string }) => Promise<void>;
}

class Staff {
  question = $state.raw<Question>();
  /** What is being carried out now, for buttons that wait. */
  busy = $state(false);
  private lastUndo: (() => void) | undefined;

  /** Acknowledge all of an incident that nobody has acknowledged. */
  async acknowledge(incident: Incident): Promise<void> {
    await this.run(async () => {
      const alarms = await unacked(incident);
      const done: Alarm[] = [];
      for (const alarm of alarms) {
        await act(`/api/v1/alarms/${alarm.alarm_id}/acknowledge`, {}, alarm.version);
        done.push(alarm);
      }
      if (!done.length) return;
      this.lastUndo = () => void this.undo(done);
      toasts.say(`${view.word("ackDone")} · ${titleOf(incident)}`, { undo: this.lastUndo });
    });
  }

  async acknowledgeAll(incidents: Incident[]): Promise<void> {
    for (const incident of incidents) await this.acknowledge(incident);
  }

  /** Take the last acknowledgement back. */
  undoLast(): void {
    this.lastUndo?.();
    this.lastUndo = undefined;
  }

  private async undo(alarms: Alarm[]): Promise<void> {
    await this.run(async () => {
      for (const alarm of alarms) await act(`/api/v1/alarms/${alarm.alarm_id}/undo-acknowledge`);
      toasts.say(view.word("undone"));
    });
  }

  file(incident: Incident): Promise<void> {
    const lead = incident.lead;
    if (!lead) return Promise.resolve();
    return this.run(async () => {
      const filed = await act<{ case_no: string }>(
        `/api/v1/alarms/${lead.alarm_id}/file`,
        {},
        lead.version,
      );
      toasts.say(`${view.word("filed")} · ${filed.case_no}`);
    });
  }

  resetAlarm(alarm: Alarm): void {
    this.question = {
      title: `${view.word("reset")} · ${alarm.device_name}`,
      reasons: ["reasonChecked", "reasonFalse", "reasonOther"],
      dept: false,
      text: "reason",
      go: ({ text }) =>
        this.on(`/api/v1/alarms/${alarm.alarm_id}/reset`, { reason: text }, alarm.version, "reset"),
    };
  }

  dispatch(one: Case): void {
    const likely = one.handling_dept ?? one.owner_dept;
    this.question = {
      title: `${view.word("dispatch")} · ${one.case_no}`,
      reasons: [],
      dept: true,
      ...(likely ? { likely } : {}),
      go: ({ dept }) =>
        this.on(`/api/v1/cases/${one.case_no}/dispatch`, { dept }, one.version, "dispatch"),
    };
  }

  returnCase(one: Case): void {
    this.question = {
      title: `${view.word("returnCase")} · ${one.case_no}`,
      reasons: ["reasonWrongDept", "reasonDuplicate", "reasonOther"],
      dept: false,
      text: "reason",
      go: ({ text }) =>
        this.on(`/api/v1/cases/${one.case_no}/return`, { reason: text }, one.version, "returnCase"),
    };
  }

  verify(one: Case, passed: boolean): void {
    const word: Key = passed ? "verifyPass" : "verifyFail";
    this.question = {
      title: `${view.word(word)} · ${one.case_no}`,
      reasons: passed ? ["reasonChecked"] : ["reasonOther"],
      dept: false,
      text: "note",
      go: ({ text }) =>
        this.on(`/api/v1/cases/${one.case_no}/verify`, { passed, note: text }, one.version, word),
    };
  }

  feedback(one: Case): void {
    this.question = {
      title: `${view.word("feedback")} · ${one.case_no}`,
      reasons: [],
      dept: false,
      text: "note",
      go: ({ text }) =>
        this.on(`/api/v1/cases/${one.case_no}/feedback`, { note: text }, one.version, "feedback"),
    };
  }

  sign(one: Case): Promise<void> {
    return this.on(`/api/v1/cases/${one.case_no}/sign`, {}, one.version, "sign");
  }

  arrive(one: Case): Promise<void> {
    return this.on(`/api/v1/cases/${one.case_no}/arrive`, {}, one.version, "arrive");
  }

  private on(path: string, body: object, version: number, word: Key): Promise<void> {
    return this.run(async () => {
      await act(path, body, version);
      toasts.say(`${view.word(word)} · ${view.word("done")}`);
    });
  }

  private async run(doing: () => Promise<void>): Promise<void> {
    this.busy = true;
    try {
      await doing();
    } catch (error) {
      toasts.say(sentence(error), { bad: true });
      if (error instanceof Refused && error.problem.status === 401) hub.again();
    } finally {
      this.busy = false;
    }
  }
}

/** Why an action was refused, as the hub says it: who got there first, or what is missing. */
export function sentence(error: unknown): string {
  if (error instanceof Refused) return view.zh ? error.problem.detail_zh : error.problem.detail;
  return view.word("downBar");
}

export function titleOf(incident: Incident): string {
  return view.text(incident.title);
}

async function unacked(incident: Incident): Promise<Alarm[]> {
  const lead = incident.lead;
  if (lead && incident.member_count <= 1) return lead.ack_state === "unacked" ? [lead] : [];
  const whole = await ask<OneIncident>(`/api/v1/incidents/${incident.incident_id}`);
  return whole.alarms.filter((alarm) => alarm.ack_state === "unacked" && !alarm.retroactive);
}

export const staff = new Staff();
