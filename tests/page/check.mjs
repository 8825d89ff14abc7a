// Drives the page in Chromium: node check.mjs [WORD...], as tests/page/run starts it.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { relaySlowly, serve } from "./servers.mjs";

const { FOLDER, CHROMIUM } = process.env;
const require = createRequire(path.join(FOLDER, "package.json"));
const { chromium } = require("playwright-core");
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const SAMPLE = fileURLToPath(new URL("conversation.json", import.meta.url));
const PICTURES = path.join(FOLDER, "pictures");
const WIDE = { width: 1180, height: 780 };
const PHONE = { width: 360, height: 720 };
/** Until something that the demo model says is there. Units: milliseconds. */
const PATIENCE_MS = 60_000;

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const checks = [];
const check = (name, options, act) => checks.push({ name, options, act });

const send = async (page, text) => {
  await page.fill("#say", text);
  await page.press("#say", "Enter");
};
const last = (page) => page.locator("article.assistant").last();
const answered = (page) => last(page).locator(".measure:has(.unseen)").waitFor();
const ask = async (page, text) => {
  await send(page, text);
  await answered(page);
};
const titles = (page) => page.locator(".conversations a").allTextContents();
const importSample = async (page) => {
  await page.setInputFiles("input[type=file]", SAMPLE);
  await page.locator("article.assistant math").first().waitFor();
  await page.click(".toast [aria-label=Dismiss]");
};
const picture = (page, name) => page.screenshot({ path: path.join(PICTURES, `${name}.png`) });

/** Contrast, labels and the rest of what axe knows of WCAG 2.2 AA and of good practice. */
async function checkAccess(page, where) {
  // Colors that are still changing have no contrast yet.
  await page.evaluate(() => Promise.all(document.getAnimations().filter((one) => one.effect.getTiming().iterations !== Infinity).map((one) => one.finished)));
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
  assert.deepEqual(told, [], where);
}

check("files: policy, tags, nothing unknown", {}, async (page, server) => {
  for (const file of ["/", "/page/app.js", "/page/style.css", "/page/licenses.txt"]) {
    const response = await fetch(server.address + file);
    assert.equal(response.status, 200, file);
    assert.match(response.headers.get("content-security-policy"), /^default-src 'none'; script-src 'self'; style-src 'self'/);
    assert.equal(response.headers.get("referrer-policy"), "no-referrer");
    const again = await fetch(server.address + file, { headers: { "if-none-match": response.headers.get("etag") } });
    assert.equal(again.status, 304, file);
  }
  assert.equal((await fetch(`${server.address}/page/other.js`)).status, 404);
  assert.match(await (await fetch(`${server.address}/docs`)).text(), /openapi\.json/);
  await page.locator("#say").waitFor();
});

check("answer: typed, streamed, counted, reasoning folded", { isSlow: true }, async (page) => {
  await ask(page, "What is 27 + 58?");
  assert.match(await last(page).locator(":scope > .prose").textContent(), /85/);
  assert.match(await last(page).locator(".measure").textContent(), /\d+ tokens, [\d.]+ tokens\/s/);
  assert.equal(await page.locator(".reasoning .prose").isVisible(), false);
  await page.click(".reasoning summary");
  assert.equal(await page.locator(".reasoning .prose").isVisible(), true);
  assert.match(await page.locator("meter").textContent(), /of 4,096 tokens/);
  await page.locator("[role=status].unseen", { hasText: "85" }).waitFor({ state: "attached" });
  await page.waitForFunction(() => document.title === "What is 27 + 58? · gptoss");
});

check("stop: while it is written, by key and by button", { isSlow: true }, async (page) => {
  await page.selectOption(".effort select", "high");
  await send(page, "What is 314 - 159?");
  await page.locator(".reasoning").waitFor();
  assert.match(await page.locator(".running").getAttribute("aria-label"), /answering/);
  await page.keyboard.press("Escape");
  await page.getByText("Stopped.", { exact: true }).first().waitFor();
  const text = await last(page).textContent();
  await page.waitForTimeout(400);
  assert.equal(await last(page).textContent(), text, "it goes on after it was stopped");
  await send(page, "What is 27 + 58?");
  await page.click(".composer button:has-text('Stop')");
  await page.locator(".composer button:has-text('Send')").waitFor();
});

check("stream: what is read is not moved", { isSlow: true, viewport: { width: 800, height: 420 } }, async (page) => {
  await importSample(page);
  await send(page, "What is 27 + 58?");
  await last(page).locator(".reasoning").waitFor();
  const place = page.locator(".messages");
  const fromEnd = () => place.evaluate((one) => one.scrollHeight - one.scrollTop - one.clientHeight);
  assert.ok((await fromEnd()) < 60, "it follows the answer");
  await place.evaluate((one) => (one.scrollTop = 100));
  await answered(page);
  assert.equal(await place.evaluate((one) => one.scrollTop), 100);
  await page.click(".to-end");
  assert.ok((await fromEnd()) < 60);
});

check("edit and retry: every version is kept", {}, async (page) => {
  await ask(page, "What is 1 + 1?");
  await page.locator("#say").focus();
  await page.keyboard.press("ArrowUp");
  await page.getByLabel("Edited message").fill("What is 27 + 58?");
  await page.keyboard.press("Enter");
  await answered(page);
  await page.locator("article.user .bubble", { hasText: "27 + 58" }).waitFor();
  assert.match(await page.locator("article.user .versions").textContent(), /2 of 2/);
  await page.click("article.assistant [title=Retry]");
  await page.locator("article.assistant .versions", { hasText: "2 of 2" }).waitFor();
  await answered(page);
  await page.click("article.user [aria-label='Earlier version']");
  await page.locator("article.user .bubble", { hasText: "1 + 1" }).waitFor();
  await page.locator("#say").focus();
  await page.keyboard.press("ArrowUp");
  await page.getByLabel("Edited message").waitFor();
  await page.keyboard.press("Escape");
  await page.getByLabel("Edited message").waitFor({ state: "detached" });
});

check("functions: defined, called, answered by hand", {}, async (page) => {
  await page.keyboard.press("Control+,");
  const field = page.locator("#functions");
  await field.fill('[{"name": "get weather"}]');
  await page.getByText("Function 1: \"name\" must be").waitFor();
  await field.fill("");
  await page.click("text=Insert an example");
  await page.getByText("The model may call get_weather").waitFor();
  await checkAccess(page, "settings");
  await page.keyboard.press("Escape");
  await send(page, "What is the weather in Paris?");
  const result = page.getByLabel("Result of get_weather");
  await result.waitFor();
  assert.match(await page.locator(".call pre").first().textContent(), /"city": "Paris"/);
  assert.equal(await page.locator("#say").isDisabled(), true);
  await page.waitForFunction(() => document.activeElement.id.startsWith("result-"));
  await checkAccess(page, "a call, light");
  await page.emulateMedia({ colorScheme: "dark" });
  await checkAccess(page, "a call, dark");
  await picture(page, "call-dark");
  await result.fill('{"temperature": 21}');
  await page.keyboard.press("Enter");
  await page.locator("article.assistant").nth(1).locator(".measure:has(.unseen)").waitFor();
  assert.match(await page.locator(".call pre").nth(1).textContent(), /21/);
  assert.equal(await page.locator("#say").isDisabled(), false);
});

check("conversations: kept, found, renamed, deleted and undone", {}, async (page) => {
  await ask(page, "What is 27 + 58?");
  await page.keyboard.press("Control+Shift+o");
  await ask(page, "What is 314 - 159?");
  assert.deepEqual(await titles(page), ["What is 314 - 159?", "What is 27 + 58?"]);
  await page.reload();
  await page.locator("article.assistant").waitFor();
  assert.match(await page.locator("article.user").textContent(), /314/, "the same one is open");
  await page.keyboard.press("Control+k");
  await page.keyboard.type("85");
  await page.waitForFunction(() => document.querySelectorAll(".conversations a").length === 1);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.locator("article.user", { hasText: "27 + 58" }).waitFor();
  await page.fill("#search", "nothing has this");
  await page.getByText("Nothing found.").waitFor();
  await page.press("#search", "Escape");
  await page.getByLabel("Rename What is 27 + 58?").click();
  await page.getByLabel("Title").fill("A sum");
  await page.keyboard.press("Enter");
  await page.locator("h1", { hasText: "A sum" }).waitFor();
  await page.getByLabel("Delete A sum").click();
  assert.deepEqual(await titles(page), ["What is 314 - 159?"]);
  await page.click("text=Undo");
  await page.locator("h1", { hasText: "A sum" }).waitFor();
  await page.reload();
  await page.locator("h1", { hasText: "A sum" }).waitFor();
  assert.equal((await titles(page)).length, 2);
  await page.goBack();
});

check("files: exported as Markdown and JSON, imported again", {}, async (page) => {
  await ask(page, "What is 27 + 58?");
  const saved = async (name) => {
    await page.click("summary[aria-label=Export]");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(`text=${name}`)]);
    return { name: download.suggestedFilename(), path: await download.path() };
  };
  const markdown = await saved("Export as Markdown");
  assert.equal(markdown.name, "what-is-27-58.md");
  assert.match(fs.readFileSync(markdown.path, "utf8"), /^# What is 27 \+ 58\?\n\n## You\n[^]*## Assistant\n[^]*85/);
  const json = await saved("Export as JSON");
  await page.setInputFiles("input[type=file]", json.path);
  await page.getByText("Imported 1 conversation.").waitFor();
  assert.equal((await titles(page)).length, 2);
  await page.setInputFiles("input[type=file]", { name: "x.json", mimeType: "application/json", buffer: Buffer.from("{}") });
  await page.getByText("The file holds no conversations").waitFor();
});

check("what a model writes: shown, and nothing of it runs", {}, async (page, server, seen) => {
  await importSample(page);
  const title = await page.title();
  assert.ok((await page.locator("article.assistant math").count()) >= 10);
  assert.ok((await page.locator("article.assistant math[display=block]").first().boundingBox()).height > 30, "a fraction is laid out");
  assert.equal(await page.locator(".code-keyword", { hasText: "def" }).count(), 1);
  assert.equal(await page.locator("article.assistant img, article.assistant script").count(), 0);
  await page.getByText("<script>document.title = 'run'</script>").waitFor();
  await page.waitForTimeout(300);
  assert.equal(await page.title(), title);
  assert.deepEqual(seen.outside, []);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await checkAccess(page, `Markdown, ${scheme}`);
    await page.locator(".messages").evaluate((one) => (one.scrollTop = 0));
    await picture(page, `markdown-${scheme}`);
    await page.locator(".messages").evaluate((one) => (one.scrollTop = one.scrollHeight));
    await picture(page, `markdown-end-${scheme}`);
  }
});

check("colors: as the system, or by choice", {}, async (page) => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await checkAccess(page, "welcome, light");
  await picture(page, "welcome");
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground();
  assert.notEqual(dark, light);
  await checkAccess(page, "welcome, dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.click("[aria-label='Dark colors']");
  assert.equal(await ground(), dark);
  await page.reload();
  await page.locator("[aria-label='Light colors']").waitFor();
  assert.equal(await ground(), dark);
  await page.click("[aria-label='Light colors']");
  assert.equal(await ground(), light);
});

check("phone: nothing is wider than it, the list slides in", { viewport: PHONE, hasTouch: true, isMobile: true }, async (page) => {
  await ask(page, "What is 27 + 58?");
  await importSample(page);
  const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok((await overflow()) <= 0);
  assert.equal(await page.evaluate(() => [...document.querySelectorAll(".list > article")].some((one) => one.scrollWidth > one.clientWidth + 1)), false);
  await page.locator(".messages").evaluate((one) => (one.scrollTop = 0));
  await checkAccess(page, "phone");
  await picture(page, "phone");
  await page.tap("button[aria-label=Conversations]");
  await page.locator(".sidebar").waitFor({ state: "visible" });
  await page.waitForFunction(() => document.activeElement.getAttribute("aria-label") === "Close the list");
  await checkAccess(page, "phone, list");
  await picture(page, "phone-list");
  await page.locator(".conversations a", { hasText: "27 + 58" }).tap();
  await page.locator("article.user", { hasText: "27 + 58" }).waitFor();
  await page.locator(".sidebar").waitFor({ state: "hidden" });
  await page.tap("[aria-label=Settings]");
  await page.locator("dialog[open]").waitFor();
  assert.ok((await overflow()) <= 0);
  await checkAccess(page, "phone, settings");
  await picture(page, "phone-settings");
});

check("keyboard: everything is reached, and seen when it is", {}, async (page) => {
  await ask(page, "What is 27 + 58?");
  await page.locator("body").evaluate(() => document.activeElement.blur());
  await page.keyboard.press("?");
  await page.locator("dialog[open] h2", { hasText: "Keys" }).waitFor();
  await checkAccess(page, "keys");
  await page.keyboard.press("Escape");
  await page.locator("dialog[open]").waitFor({ state: "detached" });
  const reached = new Set();
  for (let count = 0; count < 60; count++) {
    await page.keyboard.press("Tab");
    // After the last one the focus leaves the page.
    if (await page.evaluate(() => document.activeElement === document.body)) continue;
    const { name, isSeen } = await page.evaluate(() => {
      const one = document.activeElement;
      const style = getComputedStyle(one);
      const around = one.closest(".composer");
      const isSeen = style.outlineStyle !== "none" || (around !== null && getComputedStyle(around).boxShadow !== "none");
      return { name: one.getAttribute("aria-label") || one.id || one.textContent.trim(), isSeen };
    });
    if (reached.has(name) || name === "") continue;
    reached.add(name);
    assert.ok(isSeen, `the focus on ${name} is not seen`);
  }
  for (const name of ["Skip to the message", "New conversation", "search", "What is 27 + 58?", "Settings", "Dark colors", "Messages", "Edit message", "Copy answer", "Retry", "say"]) {
    assert.ok(reached.has(name), `${name} is not reached: ${[...reached].join(", ")}`);
  }
  await page.focus("#say");
  await page.keyboard.type("a");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("b");
  assert.equal(await page.inputValue("#say"), "a\nb");
});

check("probabilities: of each token, with the others", {}, async (page) => {
  await page.click("[aria-label=Settings]");
  await page.getByText("Show how likely each token").click();
  await page.keyboard.press("Escape");
  await ask(page, "What is 27 + 58?");
  await page.click(".probabilities summary");
  await page.locator(".tokens button").first().click();
  await page.locator(".probabilities td", { hasText: "%" }).first().waitFor();
  await checkAccess(page, "probabilities");
});

check("models: where each is, and the wait for one", { isOwn: true }, async (page) => {
  const server = await serve(["--model", "large=demo", "--model", "other=synthetic:tiny"]);
  // Loading takes no time here, so the server's word for it and its answer are held back.
  const held = { status: "unloaded", answer: null };
  await page.route("**/v1/models", async (route) => {
    const response = await route.fetch();
    const list = await response.json();
    if (held.answer !== null) list.data[0].status.value = held.status;
    await route.fulfill({ response, json: list });
  });
  await page.goto(server.address);
  const listed = async (...expected) => {
    await page.click("[aria-label=Settings]");
    for (const name of expected) await page.locator("option", { hasText: name }).waitFor({ state: "attached" });
    await page.keyboard.press("Escape");
  };
  await listed("large (not loaded)", "other (not loaded)");
  const isHeld = new Promise((resolve) => (held.answer = resolve));
  await page.route("**/v1/chat/completions", async (route) => {
    await isHeld;
    await route.continue();
  });
  await send(page, "What is 27 + 58?");
  await last(page).getByText(/^Waiting for large, \d+ s$/).waitFor();
  held.status = "loading";
  await last(page).getByText(/^Loading large, \d+ s$/).waitFor();
  await checkAccess(page, "a model is loaded");
  await listed("large (loading)", "other (not loaded)");
  held.answer();
  held.answer = null;
  await answered(page);
  assert.equal(await page.getByText(/^(Loading|Waiting for) large/).count(), 0);
  await listed("large (loaded)", "other (not loaded)");
  await server.stop();
});

check("errors: a key, a context that is full, a server that is gone", { isOwn: true, isRefused: true }, async (page) => {
  const keys = path.join(FOLDER, "keys.txt");
  fs.writeFileSync(keys, "a-key-of-the-test name=test\n", { mode: 0o600 });
  let server = await serve(["--api-key-file", keys]);
  await page.goto(server.address);
  await page.click("button:has-text('Enter a key')");
  await page.getByLabel("Key of the server").fill("a-key-of-the-test");
  await page.keyboard.press("Enter");
  await page.locator(".banner").waitFor({ state: "detached" });
  await page.keyboard.press("Escape");
  await ask(page, "What is 27 + 58?");
  assert.deepEqual(await page.evaluate(() => [localStorage.getItem("gptoss.key"), sessionStorage.getItem("gptoss.key")]), [null, "a-key-of-the-test"]);
  await send(page, "one two three ".repeat(2000));
  await page.getByText("Edit an earlier message to be shorter").last().waitFor();
  await server.stop();
  await page.keyboard.press("Control+Shift+o");
  await send(page, "What is 27 + 58?");
  await page.locator(".failure", { hasText: "The server cannot be reached." }).waitFor();
  await checkAccess(page, "a failure");
  server = await serve(["--api-key-file", keys], server.port);
  await page.click("article.assistant [title=Retry]");
  await answered(page);
  assert.equal(await page.locator(".failure").count(), 0);
  await server.stop();
});

/** A page of its own, and what goes wrong in it unless it is expected. */
async function drive(browser, server, slow, { name, options, act }) {
  const { viewport = WIDE, isSlow = false, isOwn = false, isRefused = false, ...device } = options;
  const context = await browser.newContext({ viewport, colorScheme: "light", ...device });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const seen = { outside: [], wrong: [] };
  page.on("pageerror", (error) => seen.wrong.push(error.message));
  page.on("console", (message) => {
    // Chromium tells every answer that is not a success as an error.
    const isExpected = isRefused && message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !isExpected) seen.wrong.push(message.text());
  });
  page.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (!["data:", "blob:"].includes(protocol) && hostname !== "127.0.0.1") seen.outside.push(request.url());
  });
  try {
    if (!isOwn) {
      await page.goto((isSlow ? slow : server).address);
      await page.locator(".welcome h2").waitFor();
    }
    await act(page, server, seen);
    assert.deepEqual(seen, { outside: [], wrong: [] });
  } catch (error) {
    await picture(page, `failed-${name.split(":")[0]}`).catch(() => undefined);
    throw error;
  } finally {
    await context.close();
  }
}

fs.mkdirSync(PICTURES, { recursive: true });
const words = process.argv.slice(2);
const server = await serve();
const slow = await relaySlowly(server.port);
const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
console.log(`Chromium ${browser.version()}, server at ${server.address}`);
let failed = 0;
for (const one of checks.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))) {
  const begun = Date.now();
  try {
    await drive(browser, server, slow, one);
    console.log(`ok    ${one.name} (${Date.now() - begun} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${one.name}\n${error.stack ?? error}`);
  }
}
await browser.close();
slow.stop();
await server.stop();
console.log(failed === 0 ? "all checks hold" : `${failed} checks failed`);
process.exit(failed === 0 ? 0 : 1);
