// The parts of temml that `tex.ts` uses; the package describes its main entry alone.
declare module "temml/src/buildMathML.js" {
  export default function buildMathML(tree: unknown, tex: string, style: unknown, settings: unknown): { toNode(): Node };
}
declare module "temml/src/constants.js" {
  export const StyleLevel: { DISPLAY: number; TEXT: number };
}
declare module "temml/src/parseTree.js" {
  export default function parseTree(tex: string, settings: unknown): unknown;
}
declare module "temml/src/Settings.js" {
  export default class Settings {
    constructor(options: object);
    maxSize: [number, number];
  }
}
declare module "temml/src/Style.js" {
  export default class Style {
    constructor(options: { level: number; maxSize: [number, number] });
  }
}
