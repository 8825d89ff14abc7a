// What a conversation asks of the model besides its messages.

export type Effort = "" | "none" | "low" | "medium" | "high";
export const EFFORTS: readonly Effort[] = ["", "none", "low", "medium", "high"];

export interface Settings {
  /** Empty: the served model. */
  model: string;
  /** Empty: what the model does by itself. */
  effort: Effort;
  instructions: string;
  /** Sampling; null leaves the choice to the server. */
  temperature: number | null;
  topP: number | null;
  maxTokens: number | null;
  seed: number | null;
  /** Functions as JSON text, as it was typed. */
  functions: string;
  /** Whether answers come with the probabilities of their tokens. */
  hasProbabilities: boolean;
}

export const DEFAULTS: Settings = {
  model: "",
  effort: "",
  instructions: "",
  temperature: null,
  topP: null,
  maxTokens: null,
  seed: null,
  functions: "",
  hasProbabilities: false,
};

export interface Range {
  min: number;
  max: number;
  isWhole: boolean;
}

export const RANGES = {
  temperature: { min: 0, max: 2, isWhole: false },
  topP: { min: 0, max: 1, isWhole: false },
  maxTokens: { min: 1, max: 1_000_000, isWhole: true },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER, isWhole: true },
} satisfies Record<string, Range>;

/** A number of a text field: null when it is empty, undefined when it is out of range. */
export function parseNumber(text: string, range: Range): number | null | undefined {
  if (text.trim() === "") return null;
  const value = Number(text);
  const isIn = Number.isFinite(value) && value >= range.min && value <= range.max;
  return isIn && (!range.isWhole || Number.isInteger(value)) ? value : undefined;
}

/** Settings out of stored or imported data: what has the wrong type is the default. */
export function settingsOf(value: unknown): Settings {
  const from = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const text = (key: string) => (typeof from[key] === "string" ? (from[key] as string) : "");
  const number = (key: keyof typeof RANGES) =>
    typeof from[key] === "number" ? (parseNumber(String(from[key]), RANGES[key]) ?? null) : null;
  const effort = text("effort") as Effort;
  return {
    model: text("model"),
    effort: EFFORTS.includes(effort) ? effort : "",
    instructions: text("instructions"),
    temperature: number("temperature"),
    topP: number("topP"),
    maxTokens: number("maxTokens"),
    seed: number("seed"),
    functions: text("functions"),
    hasProbabilities: from.hasProbabilities === true,
  };
}
