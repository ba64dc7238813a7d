import { defineConfig } from "vite";

/** Built into the API's package, which serves it; nothing is inlined, so that the page's policy can
 * forbid whatever does not come from a file of its own. */
export default defineConfig({
  build: {
    outDir: "../api/page/built",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    cssCodeSplit: false,
    target: "es2022",
    reportCompressedSize: false,
  },
});
