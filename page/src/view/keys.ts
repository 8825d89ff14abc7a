// Which keys send what was typed.

/** Enter, if it neither breaks the line nor ends a character that is being composed. */
export function sends(event: KeyboardEvent): boolean {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing;
}
