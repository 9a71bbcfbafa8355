// Short answers to what a person did, with a way back where there is one.

export interface Toast {
  id: number;
  text: string;
  bad: boolean;
  undo?: () => void;
}

const SHOWN_MS = 5_000;
const SHOWN_BAD_MS = 12_000;

class Toasts {
  all = $state<Toast[]>([]);
  private next = 1;

  say(text: string, options: { bad?: boolean; undo?: () => void } = {}): void {
    const toast: Toast = { id: this.next++, text, bad: options.bad ?? false };
    if (options.undo) toast.undo = options.undo;
    this.all = [...this.all.slice(-3), toast];
    setTimeout(() => this.drop(toast.id), toast.bad ? SHOWN_BAD_MS : SHOWN_MS);
  }

  drop(id: number): void {
    this.all = this.all.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
