export type ErrorComponent =
  | "router"
  | "executor"
  | "fetcher"
  | "function"
  | "timeout"
  | "builder"
  | "storage"
  | "controller"
  | "workflows"
  | "triggers";

export interface ErrorEntry {
  readonly status: number;
  readonly component: ErrorComponent;
  /** Who must act: the caller, the function's author, or the operator of the platform. */
  readonly fault: "caller" | "function" | "platform";
  /** Whether the same request may succeed later; such replies carry `Retry-After`. */
  readonly retry: boolean;
  /** One sentence, for the docs and for the reply's message. */
  readonly meaning: string;
  /** What to do about it. */
  readonly remedy: string;
}

/** One line of the table of errors. */
export const errorEntry = (
  status: number,
  component: ErrorComponent,
  fault: ErrorEntry["fault"],
  retry: boolean,
  meaning: string,
  remedy: string,
): ErrorEntry => ({ status, component, fault, retry, meaning, remedy });
