// Small choices kept by the browser: theme, key, and the settings that new conversations begin with.
import { type Settings, settingsOf } from "../talk/settings";

export type Theme = "system" | "light" | "dark";

const THEME = "gptoss.theme";
const KEY = "gptoss.key";
const SETTINGS = "gptoss.settings";

// Where storage is forbidden a choice lasts as long as the page.
function read(storage: () => Storage, name: string): string | null {
  try {
    return storage().getItem(name);
  } catch {
    return null;
  }
}

function write(storage: () => Storage, name: string, value: string | null): void {
  try {
    if (value === null) storage().removeItem(name);
    else storage().setItem(name, value);
  } catch {
    return;
  }
}

const lasting = () => localStorage;
const passing = () => sessionStorage;

export function readTheme(): Theme {
  const theme = read(lasting, THEME);
  return theme === "light" || theme === "dark" ? theme : "system";
}

export function writeTheme(theme: Theme): void {
  write(lasting, THEME, theme === "system" ? null : theme);
}

/** The key, and whether it outlasts the tab. */
export function readKey(): { key: string; isKept: boolean } {
  const kept = read(lasting, KEY);
  return kept !== null ? { key: kept, isKept: true } : { key: read(passing, KEY) ?? "", isKept: false };
}

export function writeKey(key: string, isKept: boolean): void {
  write(lasting, KEY, isKept && key !== "" ? key : null);
  write(passing, KEY, !isKept && key !== "" ? key : null);
}

export function readSettings(): Settings {
  try {
    return settingsOf(JSON.parse(read(lasting, SETTINGS) ?? "null"));
  } catch {
    return settingsOf(null);
  }
}

export function writeSettings(settings: Settings): void {
  write(lasting, SETTINGS, JSON.stringify(settings));
}
