// TeX to elements of MathML, by the parts of temml that do it.
//
// Its main entry, which does the same in these steps, also brings chemistry, markup as text and a search through
// whole documents: a sixth of this page.
import buildMathML from "temml/src/buildMathML.js";
import { StyleLevel } from "temml/src/constants.js";
import parseTree from "temml/src/parseTree.js";
import Settings from "temml/src/Settings.js";
import Style from "temml/src/Style.js";

export interface TexOptions {
  displayMode: boolean;
  throwOnError: boolean;
  trust: boolean;
  strict: boolean;
  maxExpand: number;
  maxSize: [number, number];
}

/** Throws what the parser says of TeX that it cannot read. */
export function renderTex(tex: string, options: TexOptions): Element | null {
  const settings = new Settings(options);
  const tree = parseTree(tex, settings);
  const style = new Style({ level: options.displayMode ? StyleLevel.DISPLAY : StyleLevel.TEXT, maxSize: settings.maxSize });
  const node = buildMathML(tree, tex, style, settings).toNode();
  return node instanceof Element ? node : null;
}
