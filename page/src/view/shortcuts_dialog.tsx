// The keys that do something.
import { Dialog } from "./dialog";

const KEYS: [string, string][] = [
  ["Enter", "Send the message"],
  ["Shift Enter", "A new line"],
  ["Esc", "Stop the answer; close what is open"],
  ["Up", "Edit the last message, when nothing is typed"],
  ["/", "Go to the message field"],
  ["Ctrl K", "Search in conversations"],
  ["Ctrl Shift O", "New conversation"],
  ["Ctrl ,", "Settings"],
  ["Up, Down", "Move in the list of conversations"],
  ["?", "This list"],
];

export function ShortcutsDialog({ isOpen, close }: { isOpen: boolean; close: () => void }) {
  return (
    <Dialog title="Keys" isOpen={isOpen} close={close}>
      <dl class="keys">
        {KEYS.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">On a Mac, Command is Ctrl.</p>
    </Dialog>
  );
}
