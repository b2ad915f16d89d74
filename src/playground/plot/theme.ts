// Colours by meaning, read from the style sheet, so that light and dark are decided in one place.

export type Meaning =
  "truth" | "rows" | "net" | "unit" | "band" | "published" | "text" | "soft" | "line";

let colours: Partial<Record<Meaning, string>> = {};

/** The colour of a meaning under the present colour scheme. */
export function colour(meaning: Meaning): string {
  colours[meaning] ??= getComputedStyle(document.documentElement)
    .getPropertyValue(`--${meaning}`)
    .trim();
  return colours[meaning];
}

/** Calls back when the colour scheme changes. */
export function onThemeChange(redraw: () => void): void {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours = {};
    redraw();
  });
}
