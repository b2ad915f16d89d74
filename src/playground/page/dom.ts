// Elements of the page by name, and how new ones are made.

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`#${id} is missing from the page`);
  return element as T;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Four significant digits; infinite stands for diverged. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return "diverged";
  return value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)
    ? value.toExponential(3)
    : String(Number(value.toPrecision(4)));
}

export const grouped = new Intl.NumberFormat("en-GB");

export const percent = (share: number): string => `${(100 * share).toFixed(1)}\u00a0%`;

/** Copies, also where the clipboard is not to be had; says whether it went well. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { readonly: "", class: "away" }, text);
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
