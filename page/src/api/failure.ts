// Why an answer did not come, in words for the person who asked.

export type FailureKind = "network" | "key" | "busy" | "context" | "refused" | "server" | "broken";

export interface Failure {
  kind: FailureKind;
  /** What happened. */
  message: string;
  /** What to do about it. */
  advice: string;
}

const ADVICE: Record<FailureKind, string> = {
  network: "Check that gptoss serve is still running, then retry.",
  key: "Enter a key of this server, then retry.",
  busy: "Retry in a moment.",
  context: "Edit an earlier message to be shorter, or begin a new conversation.",
  refused: "Change the message or the settings, then retry.",
  server: "Retry; the server's log has the details.",
  broken: "What arrived is kept. Retry for a whole answer.",
};

/** The server's word for a prompt that is too long. */
const CONTEXT = "context_length_exceeded";

export function failureOf(kind: FailureKind, message: string, advice: string = ADVICE[kind]): Failure {
  return { kind, message, advice };
}

/** The failure that an answer with this status and body tells of. */
export function failureOfResponse(status: number, body: string, retryAfter: string | null): Failure {
  const error = errorIn(body);
  const message = error?.message ?? `The server answered ${status}.`;
  if (status === 401) return failureOf("key", message);
  if (error?.code === CONTEXT) return failureOf("context", message);
  if (status === 429 || status === 503) {
    const seconds = Number(retryAfter);
    return failureOf("busy", message, seconds > 0 ? `Retry in ${seconds} s.` : undefined);
  }
  return failureOf(status >= 500 ? "server" : "refused", message);
}

/** The failure that an event in the middle of a stream tells of. */
export function failureInStream(data: unknown): Failure | null {
  if (typeof data !== "object" || data === null || !("error" in data)) return null;
  const error = errorIn(JSON.stringify(data));
  // A stream may be open before its model is loaded and its prompt is read.
  const kind = error?.code === CONTEXT ? "context" : error?.code === "model_not_loaded" || error?.code === "server_overloaded" ? "busy" : "broken";
  return failureOf(kind, error?.message ?? "The server ended the answer with an error.");
}

function errorIn(body: string): { message: string; code: string | null } | null {
  try {
    const error = (JSON.parse(body) as { error?: { message?: unknown; code?: unknown } }).error;
    if (typeof error?.message !== "string") return null;
    return { message: error.message, code: typeof error.code === "string" ? error.code : null };
  } catch {
    return null;
  }
}
