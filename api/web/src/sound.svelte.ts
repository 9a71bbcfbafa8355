// One short tone for an unacknowledged red, again every ten seconds until somebody acknowledges it.
// A browser lets a page sound only after a click on it; until then the strip says so.
import { hub } from "./live/hub.svelte";
import { view } from "./view.svelte";

const EVERY_MS = 10_000;
const MUTE_MS = 10 * 60_000;

class Sound {
  /** The browser lets us. */
  on = $state(false);
  mutedUntil = $state(0);
  private context: AudioContext | undefined;
  private told = new Set<number>();

  /** Ask the browser; called from a click. */
  async enable(): Promise<void> {
    this.context ??= new AudioContext();
    await this.context.resume();
    this.on = this.context.state === "running";
    if (this.on) this.tone();
  }

  mute(): void {
    this.mutedUntil = this.mutedUntil > Date.now() ? 0 : Date.now() + MUTE_MS;
  }

  watch(): void {
    setInterval(() => {
      if (this.reds().length && Date.now() > this.mutedUntil) this.tone();
    }, EVERY_MS);
  }

  /** Sound at once for a red that is new, and notify where the tab is hidden. */
  check(): void {
    const fresh = this.reds().filter((row) => !this.told.has(row.incident_id));
    if (!fresh.length) return;
    for (const row of fresh) this.told.add(row.incident_id);
    if (Date.now() > this.mutedUntil) this.tone();
    const first = fresh[0];
    if (document.hidden && first && "Notification" in window && Notification.permission === "granted") {
      const more = fresh.length > 1 ? ` +${fresh.length - 1}` : "";
      new Notification(view.text(first.title) + more, {
        body: view.text(first.lead?.explain),
        tag: `cityhub-${first.cause_node ?? first.incident_id}`,
      });
    }
  }

  private reds() {
    return [...hub.incidents.values()].filter((row) => row.severity === 4 && row.unacked > 0);
  }

  private tone(): void {
    const context = this.context;
    if (!this.on || !context) return;
    const start = context.currentTime;
    for (const [at, pitch] of [[0, 880], [0.16, 660]] as const) {
      const oscillator = context.createOscillator();
      const gain = context.createGain();
      oscillator.frequency.value = pitch;
      gain.gain.setValueAtTime(0.0001, start + at);
      gain.gain.exponentialRampToValueAtTime(0.25, start + at + 0.02);
      gain.gain.exponentialRampToValueAtTime(0.0001, start + at + 0.14);
      oscillator.connect(gain).connect(context.destination);
      oscillator.start(start + at);
      oscillator.stop(start + at + 0.15);
    }
  }
}

export const sound = new Sound();
