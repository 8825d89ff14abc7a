// A call of a function, and the form in which a person answers it.
import { useLayoutEffect, useRef } from "preact/hooks";
import { Code } from "../render/code";
import { answerCall } from "../state";
import type { Call } from "../talk/conversation";
import { prettyArguments } from "../talk/functions";
import { sends } from "./keys";

interface Props {
  call: Call;
  result: string | undefined;
  /** Whether its result is still asked for. */
  isOpen: boolean;
  /** Whether it is the first such call, which takes the focus. */
  isFirstOpen: boolean;
}

const DECLINED = '{"error": "The user declined this call."}';

export function CallView({ call, result, isOpen, isFirstOpen }: Props) {
  return (
    <section class="call" aria-label={`Call of ${call.name}`}>
      <h3>
        <span>Call of</span> <code>{call.name}</code>
      </h3>
      <Code text={prettyArguments(call.arguments)} language="json" />
      {result !== undefined && (
        <>
          <h3>Result</h3>
          <Code text={result} language="json" />
        </>
      )}
      {isOpen && <ResultForm call={call} takesFocus={isFirstOpen} />}
    </section>
  );
}

function ResultForm({ call, takesFocus }: { call: Call; takesFocus: boolean }) {
  const field = useRef<HTMLTextAreaElement>(null);
  const id = `result-${call.id}`;
  useLayoutEffect(() => {
    if (takesFocus) field.current?.focus();
  }, [takesFocus]);
  const send = () => answerCall(call.id, field.current?.value ?? "");
  const submit = (event: Event) => {
    event.preventDefault();
    send();
  };
  const pressed = (event: KeyboardEvent) => {
    if (!sends(event)) return;
    event.preventDefault();
    send();
  };
  return (
    <form class="result" onSubmit={submit}>
      <label for={id}>Result of {call.name}</label>
      <textarea id={id} ref={field} class="mono" rows={3} spellcheck={false} placeholder='{"temperature": 21}' onKeyDown={pressed} />
      <div class="acts">
        <button type="button" onClick={() => answerCall(call.id, DECLINED)}>
          Decline
        </button>
        <button type="submit" class="main">
          Send result
        </button>
      </div>
    </form>
  );
}
