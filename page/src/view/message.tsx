// One message: what was said, what it took, and what can be done with it.
import { useSignal } from "@preact/signals";
import { Component } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Markdown } from "../render/markdown";
import { currentRun, edit, path, retry, runningId, served, showVersion, versions } from "../state";
import { type Measure, type Message, openCalls } from "../talk/conversation";
import { CallView } from "./call";
import { CopyButton } from "./copy_button";
import { Icon } from "./icons";
import { sends } from "./keys";
import { Probabilities } from "./probabilities";

interface Props {
  message: Message;
  isLast: boolean;
}

/** Made again only when the message has changed: the others stand still while one is written. */
export class MessageView extends Component<Props> {
  shouldComponentUpdate(next: Props): boolean {
    return next.message !== this.props.message || next.isLast !== this.props.isLast;
  }

  render({ message, isLast }: Props) {
    if (message.role === "user") return <UserMessage message={message} />;
    // Results stand with their calls.
    if (message.role === "tool") return null;
    return <AssistantMessage message={message} isLast={isLast} />;
  }
}

function UserMessage({ message }: { message: Message }) {
  const isEdited = useSignal(false);
  if (isEdited.value) return <EditField message={message} close={() => (isEdited.value = false)} />;
  return (
    <article class="user">
      <h2 class="unseen">You</h2>
      <div class="bubble">{message.text}</div>
      <div class="acts">
        <Versions message={message} />
        <CopyButton text={message.text} what="message" />
        <button type="button" class="quiet" data-edit aria-label="Edit message" title="Edit" onClick={() => (isEdited.value = true)}>
          <Icon name="pencil" />
        </button>
      </div>
    </article>
  );
}

function EditField({ message, close }: { message: Message; close: () => void }) {
  const field = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.setSelectionRange(message.text.length, message.text.length);
  }, []);
  const leave = () => {
    close();
    document.getElementById("say")?.focus();
  };
  const send = () => {
    const text = field.current?.value ?? "";
    if (text.trim() === "") return;
    leave();
    edit(message.id, text);
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      event.preventDefault();
      leave();
    } else if (sends(event)) {
      event.preventDefault();
      send();
    }
  };
  return (
    <article class="user edited">
      <h2 class="unseen">You</h2>
      <textarea ref={field} aria-label="Edited message" rows={Math.min(12, message.text.split("\n").length + 1)} defaultValue={message.text} onKeyDown={pressed} />
      <div class="acts">
        <span class="hint">The earlier version is kept.</span>
        <button type="button" onClick={leave}>
          Cancel
        </button>
        <button type="button" class="main" onClick={send}>
          Send
        </button>
      </div>
    </article>
  );
}

function AssistantMessage({ message, isLast }: Props) {
  const isWritten = runningId.value === message.id;
  const again = () => {
    retry(message.id);
    // The button is gone until the answer is there.
    document.getElementById("say")?.focus({ preventScroll: true });
  };
  const calls = message.calls ?? [];
  const open = calls.length === 0 ? [] : openCalls(path.value);
  return (
    <article class="assistant">
      <h2 class="unseen">Assistant</h2>
      {message.reasoning !== undefined && <Reasoning message={message} isWriting={isWritten && message.text === "" && calls.length === 0} />}
      {message.text !== "" && <Markdown text={message.text} />}
      {isWritten && message.reasoning === undefined && message.text === "" && calls.length === 0 && <Waiting />}
      {calls.map((call) => (
        <CallView key={call.id} call={call} result={resultOf(call.id)} isOpen={open.some(({ id }) => id === call.id)} isFirstOpen={open[0]?.id === call.id} />
      ))}
      <Ending message={message} />
      {message.probabilities !== undefined && message.finish !== undefined && <Probabilities tokens={message.probabilities} />}
      <div class="acts">
        <Versions message={message} />
        {!isWritten && (
          <>
            {message.text !== "" && <CopyButton text={message.text} what="answer" />}
            <button type="button" class="quiet" aria-label={isLast ? "Retry" : "Retry from here"} title="Retry" onClick={again}>
              <Icon name="retry" />
            </button>
          </>
        )}
        {isWritten && <RunningMeasure />}
        {message.measure !== undefined && <MeasureView measure={message.measure} />}
      </div>
    </article>
  );
}

/** Until the first word comes. */
function Waiting() {
  const { id = "", status = "loaded" } = served.value ?? {};
  const run = currentRun.value;
  const seconds = run === undefined ? 0 : Math.round((performance.now() - run.begun) / 1000);
  const text = status === "loaded" ? "Reading the conversation" : `${status === "loading" ? "Loading" : "Waiting for"} ${id}, ${seconds} s`;
  return <p class="waiting">{text}</p>;
}

function resultOf(callId: string): string | undefined {
  return path.value.find((message) => message.callId === callId)?.text;
}

/** Folded; the reader opens it if they like. */
function Reasoning({ message, isWriting }: { message: Message; isWriting: boolean }) {
  const tokens = message.measure?.reasoningTokens;
  const title = isWriting ? "Reasoning" : tokens ? `Reasoning, ${tokens.toLocaleString("en")} tokens` : "Reasoning";
  return (
    <details class="reasoning">
      <summary>
        <span class={isWriting ? "waiting" : undefined}>{title}</span>
      </summary>
      <Markdown text={message.reasoning ?? ""} />
    </details>
  );
}

/** How it ended, if that is not of itself. */
function Ending({ message }: { message: Message }) {
  return (
    <>
      {message.failure !== undefined && (
        <div class="failure" role="alert">
          <strong>{message.failure.message}</strong> {message.failure.advice}
        </div>
      )}
      {message.finish === "stopped" && <p class="ending">Stopped.</p>}
      {message.finish === "length" && <p class="ending">Cut off at the limit of tokens.</p>}
      {message.warnings?.map((warning) => (
        <p class="ending" key={warning}>
          {warning}
        </p>
      ))}
    </>
  );
}

/** Until there is a speed to tell while an answer is written. Units: seconds. */
const RUNNING_SECONDS_MIN = 0.2;

function RunningMeasure() {
  const run = currentRun.value;
  const seconds = run === undefined || run.first === null ? 0 : (performance.now() - run.first) / 1000;
  if (run === undefined || seconds < RUNNING_SECONDS_MIN) return null;
  return <span class="measure">about {rate(run.chunks / seconds)} tokens/s</span>;
}

function rate(perSecond: number): string {
  return perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toFixed(1);
}

/** Shorter than this, writing has no speed worth telling. Units: milliseconds. */
const WRITING_MS_MIN = 50;

function MeasureView({ measure }: { measure: Measure }) {
  const { promptTokens, cachedTokens, completionTokens, firstMs, totalMs } = measure;
  const writingMs = totalMs - firstMs;
  const speed = completionTokens > 1 && writingMs >= WRITING_MS_MIN ? `${rate(((completionTokens - 1) / writingMs) * 1000)} tokens/s` : null;
  const count = `${completionTokens.toLocaleString("en")} tokens`;
  const all = `${promptTokens.toLocaleString("en")} tokens read, ${cachedTokens.toLocaleString("en")} of them known; first after ${(firstMs / 1000).toFixed(2)} s, all after ${(totalMs / 1000).toFixed(2)} s`;
  return (
    <span class="measure" title={all}>
      {speed === null ? count : `${count}, ${speed}`}
      <span class="unseen">; {all}</span>
    </span>
  );
}

/** Goes between the versions of a message. */
function Versions({ message }: { message: Message }) {
  const ids = versions.value.get(message.id) ?? [];
  if (ids.length < 2) return null;
  const at = ids.indexOf(message.id);
  const step = (by: number, label: string) => {
    const other = ids[at + by];
    return (
      <button type="button" class="quiet" aria-label={label} disabled={other === undefined || runningId.value !== undefined} onClick={() => other && showVersion(other)}>
        <Icon name={by < 0 ? "left" : "right"} />
      </button>
    );
  };
  return (
    <span class="versions" role="group" aria-label="Versions">
      {step(-1, "Earlier version")}
      <span>
        {at + 1} of {ids.length}
      </span>
      {step(1, "Later version")}
    </span>
  );
}
