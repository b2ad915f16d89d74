// The controls: one for every setting, each with the YAML key it stands for.
import type { Evidence } from "../state/evidence";
import { choicesOf } from "../state/link";
import { type Field, FIELDS, read, type Settings, type Value } from "../state/settings";
import { byId, make } from "./dom";

const GROUPS: Record<Field["group"], string> = {
  function: "The function and its rows",
  net: "The net and its start",
  descent: "Descent",
};

type Input = HTMLInputElement | HTMLSelectElement;

export class Controls {
  private readonly inputs = new Map<string, Input>();
  /** Controls whose text was refused; it stays there until it is corrected. */
  private readonly refused = new Set<string>();

  constructor(
    private readonly evidence: Evidence,
    private readonly onChange: (key: string, value: Value) => void,
  ) {
    this.experiment();
    const form = byId("controls");
    byId("to-controls").addEventListener("click", () => {
      form.scrollIntoView();
      form.querySelector<HTMLElement>("select")?.focus({ preventScroll: true });
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const [group, legend] of Object.entries(GROUPS)) {
      const own = FIELDS.filter((field) => field.group === group).map((field) => this.field(field));
      form.append(make("fieldset", {}, make("legend", {}, legend), ...own));
    }
  }

  /** Brings every control in line with the settings; a refused text stays, unless the state is a fresh one. */
  show(settings: Settings, fresh = false): void {
    if (fresh) this.refused.clear();
    for (const [key, input] of this.inputs) {
      const field = FIELDS.find((f) => f.key === key);
      const value = settings[key];
      const box = input.closest<HTMLElement>(".field");
      if (box && field?.shown) box.hidden = !field.shown(settings);
      if (this.refused.has(key) && !box?.hidden) continue;
      if (input instanceof HTMLInputElement && input.type === "checkbox")
        input.checked = value === true;
      else if (document.activeElement !== input || input instanceof HTMLSelectElement) {
        input.value = value === null || value === undefined ? "" : String(value);
      }
      this.wrong(key, null);
    }
    byId("question").textContent =
      this.evidence.experiments[settings.experiment as string].question;
  }

  /** Says beside a control what is wrong with what was typed; null: nothing. */
  wrong(key: string, message: string | null): void {
    const input = this.inputs.get(key);
    if (!input) return;
    if (message === null) this.refused.delete(key);
    else this.refused.add(key);
    const line = byId(`wrong-${input.id}`);
    line.textContent = message ?? "";
    line.hidden = message === null;
    if (message === null) input.removeAttribute("aria-invalid");
    else input.setAttribute("aria-invalid", "true");
  }

  /** Tries refused texts again, after another control has changed. */
  retry(): void {
    for (const key of [...this.refused]) {
      if (this.refused.has(key)) this.inputs.get(key)?.dispatchEvent(new Event("change"));
    }
  }

  private experiment(): void {
    const select = this.select("experiment", Object.keys(this.evidence.experiments));
    const label = make(
      "label",
      { for: select.id },
      "experiment to start from ",
      make("code", {}, "experiment"),
    );
    byId("start").append(
      make("div", {}, label, select, this.wrongLine(select.id)),
      make("p", { id: "question" }),
    );
  }

  private field(field: Field): HTMLElement {
    const choices = choicesOf(this.evidence, field.key);
    const input = field.kind === "choice" ? this.select(field.key, choices) : this.text(field);
    const label = make("label", { for: input.id }, field.label, make("code", {}, field.key));
    const box = make(
      "div",
      { class: field.key === "target.f" ? "field wide" : "field" },
      label,
      input,
    );
    if (field.hint) {
      box.append(make("small", { id: `hint-${input.id}` }, field.hint));
      input.setAttribute("aria-describedby", `hint-${input.id} wrong-${input.id}`);
    }
    box.append(this.wrongLine(input.id));
    return box;
  }

  private wrongLine(id: string): HTMLElement {
    return make("p", { id: `wrong-${id}`, class: "wrong", role: "alert", hidden: "" });
  }

  private select(key: string, choices: string[]): HTMLSelectElement {
    const select = make(
      "select",
      {},
      ...choices.map((name) => make("option", { value: name }, name)),
    );
    select.addEventListener("change", () => this.onChange(key, select.value));
    return this.named(key, select);
  }

  private text(field: Field): HTMLInputElement {
    const flag = field.kind === "flag";
    const input = make("input", { type: flag ? "checkbox" : "text", spellcheck: "false" });
    if (!flag && field.kind !== "text")
      input.inputMode = field.kind === "whole" ? "numeric" : "text";
    const given = (): string => (flag ? String(input.checked) : input.value);
    input.addEventListener("change", () => {
      try {
        this.onChange(field.key, read(field, given()));
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.wrong(field.key, error.message);
      }
    });
    return this.named(field.key, input);
  }

  private named<T extends Input>(key: string, input: T): T {
    input.id = `set-${key.replaceAll(".", "-")}`;
    input.setAttribute("aria-describedby", `wrong-${input.id}`);
    this.inputs.set(key, input);
    return input;
  }
}
