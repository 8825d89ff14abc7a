// Files out of the page and into it.

export function saveFile(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address));
}

/** The text of a file that a person picks; null when there is none. */
export async function pickedText(event: Event): Promise<string | null> {
  const field = event.currentTarget as HTMLInputElement;
  const text = (await field.files?.[0]?.text()) ?? null;
  // The same file can be picked again.
  field.value = "";
  return text;
}
