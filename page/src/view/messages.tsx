// The messages of the path that is shown, and where the reader is among them.
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { current, currentRun, path, say, served, changeSettings } from "../state";
import { EXAMPLE } from "../talk/functions";
import { Icon } from "./icons";
import { MessageView } from "./message";

/** So near to the end counts as at the end. Units: pixels. */
const NEAR = 48;

export function Messages() {
  const area = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const isButtonShown = useSignal(false);
  const id = current.value.id;
  const length = path.value.length;
  const toEnd = () => {
    const place = area.current;
    if (place !== null) place.scrollTop = place.scrollHeight;
  };
  const scrolled = () => {
    const place = area.current;
    if (place === null) return;
    isAtEnd.current = place.scrollHeight - place.scrollTop - place.clientHeight < NEAR;
    isButtonShown.value = !isAtEnd.current;
  };
  // A conversation opens, and one's own message appears, at the end; from there on the reader leads.
  useLayoutEffect(() => {
    isAtEnd.current = true;
    toEnd();
  }, [id, length]);
  useEffect(() => {
    if (list.current === null) return;
    const observer = new ResizeObserver(() => {
      if (isAtEnd.current) toEnd();
      else scrolled();
    });
    observer.observe(list.current);
    return () => observer.disconnect();
  }, []);
  return (
    <div class="scroll">
      <div class="messages" ref={area} onScroll={scrolled} tabIndex={0} role="region" aria-label="Messages">
        <div class="list" ref={list} aria-busy={currentRun.value !== undefined}>
          {length === 0 && <Welcome />}
          {path.value.map((message, index) => (
            <MessageView key={message.id} message={message} isLast={index === length - 1} />
          ))}
        </div>
      </div>
      {isButtonShown.value && (
        <button type="button" class="to-end" aria-label="To the end" title="To the end" onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

const SUMS = ["What is 27 + 58?", "What is 314 - 159?"];

function Welcome() {
  const model = served.value;
  if (model === undefined) return <div class="welcome" />;
  if (!model.isDemo) {
    return (
      <div class="welcome">
        <h2>{model.id}</h2>
        <p>What is said here stays between this browser and the server.</p>
      </div>
    );
  }
  const askWeather = () => {
    changeSettings({ functions: EXAMPLE });
    say("What is the weather in Paris?");
  };
  return (
    <div class="welcome">
      <h2>The demo model</h2>
      <p>It is inside the program and knows sums and function calls, and nothing of the world. It is not gpt-oss.</p>
      <div class="tries">
        {SUMS.map((text) => (
          <button type="button" key={text} onClick={() => say(text)}>
            {text}
          </button>
        ))}
        <button type="button" onClick={askWeather}>
          A function call: the weather in Paris
        </button>
      </div>
    </div>
  );
}
