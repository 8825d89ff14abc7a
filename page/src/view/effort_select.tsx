// How much the model reasons before it answers.
import { changeSettings, current } from "../state";
import type { Effort } from "../talk/settings";

const NAMES: [Effort, string][] = [
  ["", "Default"],
  ["none", "None"],
  ["low", "Low"],
  ["medium", "Medium"],
  ["high", "High"],
];

export function EffortSelect({ isLabelShown = false }: { isLabelShown?: boolean }) {
  return (
    <label class={isLabelShown ? "field" : "effort"}>
      <span>Effort</span>
      <select value={current.value.settings.effort} onChange={(event) => changeSettings({ effort: event.currentTarget.value as Effort })}>
        {NAMES.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
