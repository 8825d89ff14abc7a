import { render } from "preact";
import { act } from "preact/test-utils";
import { describe, expect, it } from "vitest";
import { formulaNode } from "../src/render/formula";
import { highlight } from "../src/render/highlight";
import { decodeEntities, Markdown, safeAddress } from "../src/render/markdown";

// The stand-in for a browser gives elements of MathML no style, which browsers do.
const styles = new WeakMap<Element, Record<string, string>>();
Object.defineProperty(Element.prototype, "style", {
  configurable: true,
  get(this: Element) {
    if (!styles.has(this)) styles.set(this, {});
    return styles.get(this);
  },
});

function shown(text: string): HTMLElement {
  const place = document.createElement("div");
  act(() => render(<Markdown text={text} />, place));
  return place;
}

// Whatever a model writes, these never come of it.
const FORBIDDEN = "script, iframe, object, embed, img, svg image, style, link, meta, base, form, video, audio, [srcdoc]";

const ATTACKS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "a <b onmouseover=alert(1)>b</b> c",
  "<svg/onload=alert(1)>",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "[a](javascript:alert(1))",
  "[a](JaVaScRiPt:alert(1))",
  "[a](java\tscript:alert(1))",
  "[a](&#106;avascript:alert(1))",
  "[a](data:text/html,<script>alert(1)</script>)",
  "[a](vbscript:x)",
  "<javascript:alert(1)>",
  "![x](https://attacker.example/track.png)",
  "[![x](javascript:alert(1))](https://a.example)",
  "[a][b]\n\n[b]: javascript:alert(1)",
  "```html\n<script>alert(1)</script>\n```",
  '```"><script>alert(1)</script>\nx\n```',
  "`<script>alert(1)</script>`",
  "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
  "# <script>alert(1)</script>",
  "- [ ] <input onfocus=alert(1) autofocus>",
  "$\\href{javascript:alert(1)}{x}$",
  "$\\includegraphics{https://attacker.example/x.png}$",
  "$\\text{<script>alert(1)</script>}$",
  "$\\class{x}{y}\\style{background:url(https://attacker.example)}{z}$",
  "$$\\color{red;background:url(https://attacker.example)}x$$",
  "\\[\\data{onclick=alert(1)}{x}\\]",
];

describe("what a model writes", () => {
  it.each(ATTACKS)("runs and loads nothing: %s", (text) => {
    const place = shown(text);
    expect(place.querySelector(FORBIDDEN)).toBeNull();
    for (const element of place.querySelectorAll("*")) {
      for (const { name, value } of element.attributes) {
        expect(name.startsWith("on") || name === "style" && value.includes("url"), `${element.localName} ${name}`).toBe(false);
      }
      expect(JSON.stringify(styles.get(element) ?? {})).not.toContain("url");
      const address = element.getAttribute("href");
      if (address !== null) expect(address).toMatch(/^(https?|mailto):/);
    }
  });

  it("shows tags as the text that they are", () => {
    expect(shown("a <b>c</b>").textContent).toContain("a <b>c</b>");
    expect(shown("<script>alert(1)</script>").textContent).toContain("<script>alert(1)</script>");
  });

  it("shows Markdown", () => {
    const place = shown("# T\n\n**b** *i* ~~d~~ `c`\n\n1. x\n2. y\n\n> q\n\n| a | b |\n|:-:|--:|\n| 1 | 2 |\n\n---\n[l](https://a.example)");
    for (const selector of ["h3", "strong", "em", "del", "code", "ol > li:nth-child(2)", "blockquote", "td[data-align=right]", "hr", "a[rel~=noopener]"]) {
      expect(place.querySelector(selector), selector).not.toBeNull();
    }
  });

  it("follows a text that grows", () => {
    const place = document.createElement("div");
    const text = "See [a].\n\n- x\n- y\n\n```py\nx = 1\n```\n\n[a]: https://a.example\n";
    for (let end = 1; end <= text.length; end++) act(() => render(<Markdown text={text.slice(0, end)} />, place));
    expect(place.innerHTML).toBe(shown(text).innerHTML);
    expect(place.querySelector("a")?.href).toBe("https://a.example/");
  });

  it("names characters", () => {
    expect(decodeEntities("&lt;&amp;&#65;&#x42;&unknown;&#0;")).toBe("<&AB&unknown;\ufffd");
    expect(shown("1 &lt; 2").textContent).toBe("1 < 2");
  });

  it("knows addresses", () => {
    expect(safeAddress("https://a.example/b")).toBe("https://a.example/b");
    for (const address of ["javascript:x", "/v1/models", "#x", "data:,x", "file:///etc/passwd", ""]) expect(safeAddress(address), address).toBeNull();
  });
});

describe("mathematics", () => {
  const formulas = (text: string) => [...shown(text).querySelectorAll("math")];

  it("stands between its marks", () => {
    expect(formulas("a $x^2$ b \\(y\\) c").length).toBe(2);
    expect(formulas("$$\n\\frac{a}{b}\n$$\n\n\\[ c \\]").length).toBe(2);
    expect(formulas("$$x$$")[0]?.querySelector("mi")?.textContent).toBe("x");
  });

  it("leaves money and code alone", () => {
    expect(formulas("It costs $5 or $6, not $ 7 $.").length).toBe(0);
    expect(formulas("`$x$`\n\n```\n$y$\n```").length).toBe(0);
    expect(formulas("\\$x\\$").length).toBe(0);
  });

  it("shows its source when it cannot be read", () => {
    expect(shown("$\\frac{$").textContent).toContain("$\\frac{$");
    expect(shown("a $\\nosuchcommand{x}$").querySelector("code")?.textContent).toBe("$\\nosuchcommand{x}$");
  });

  it("ends", () => {
    expect(formulaNode("\\def\\a{\\a\\a}\\a", false)).toBeNull();
    expect(formulaNode("x".repeat(20_000), false)).toBeNull();
  });

  it("keeps definitions out of later formulas", () => {
    formulaNode("\\gdef\\mine{x}\\mine", false);
    expect(formulaNode("\\mine", false)).toBeNull();
  });
});

describe("code", () => {
  it("loses no letter", () => {
    const texts = ['let x = "a\\"b"; // c\n/* d */ 0x1F', "# not closed '", "`a\n${b}` -- <x>", ""];
    for (const text of texts) {
      for (const language of ["rust", "python", "sql", "html", "php", "text", ""]) {
        expect(highlight(text, language).map((piece) => piece.text).join("")).toBe(text);
      }
    }
  });

  it("tells the parts apart", () => {
    const kinds = highlight('fn f() { "x" } // 1', "rust").filter(({ kind }) => kind !== null);
    expect(kinds).toEqual([
      { kind: "keyword", text: "fn" },
      { kind: "string", text: '"x"' },
      { kind: "comment", text: "// 1" },
    ]);
  });
});
