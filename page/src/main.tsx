// The page: one tree of elements under `#page`.
import { effect } from "@preact/signals";
import { render } from "preact";
import { begin, current, theme } from "./state";
import "./style.css";
import { Page } from "./view/page";

const place = document.getElementById("page");
if (place !== null) {
  // Before anything is drawn, so that the wrong colors are never seen.
  effect(() => {
    if (theme.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme.value;
  });
  effect(() => {
    document.title = `${current.value.title} · gptoss`;
  });
  render(<Page />, place);
  void begin();
}
