// The build: files with fixed names, which the server embeds and CI compares byte for byte.
import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Licenses of what is inside `app.js`, which ask to go along with every copy. */
function licenses(): Plugin {
  return {
    name: "licenses",
    apply: "build",
    generateBundle() {
      const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
      const names = [...Object.keys(dependencies), "@preact/signals-core"].sort();
      const texts = names.map((name) => {
        const folder = `node_modules/${name}`;
        const file = readdirSync(folder).find((entry) => /^licen[cs]e(\.|$)/i.test(entry));
        if (file === undefined) throw new Error(`${name} has no license text`);
        const { version } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
        return `${name} ${version}\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
      });
      this.emitFile({ type: "asset", fileName: "page/licenses.txt", source: texts.join(`\n${"-".repeat(72)}\n\n`) });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [licenses()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "dist",
    target: "es2022",
    // The first that have `light-dark()`.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    modulePreload: false,
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        minify: { compress: { dropConsole: true }, mangle: true, codegen: true },
        entryFileNames: "page/app.js",
        assetFileNames: (asset) => (asset.names.some((name) => name.endsWith(".css")) ? "page/style.css" : "page/[name][extname]"),
        codeSplitting: false,
      },
    },
  },
  // `npm run dev` shows the page over a server that runs already.
  server: { proxy: { "/v1": "http://127.0.0.1:8000", "/docs": "http://127.0.0.1:8000" } },
  // The parts of temml name each other without an ending, which Node does not resolve.
  test: { server: { deps: { inline: ["temml"] } }, environment: "happy-dom", include: ["test/*.test.ts", "test/*.test.tsx"] },
});
