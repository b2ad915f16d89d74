// f(x) as text: numbers, x, pi, e, + - * / ^, comparisons and a few functions. Parsed by precedence climbing (Pratt 1973)
// into closures; nothing is ever handed to the language's own evaluation.

export type Formula = (x: number) => number;

/** What is wrong with a formula, and where. */
export class FormulaError extends Error {}

export const FUNCTIONS: Record<string, (...values: number[]) => number> = {
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  tanh: Math.tanh,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  min: (a, b) => (a < b || a !== a ? a : b),
  max: (a, b) => (a > b || a !== a ? a : b),
  where: (condition, a, b) => (condition ? a : b),
};
const ARGUMENTS: Record<string, number> = { min: 2, max: 2, where: 3 };
const CONSTANTS: Record<string, number> = { pi: Math.PI, e: Math.E };
const LONGEST = 200;
const DEEPEST = 40;

type Binary = { binds: number; right?: boolean; apply: (a: number, b: number) => number };

const BINARY: Record<string, Binary> = {
  "<": { binds: 1, apply: (a, b) => Number(a < b) },
  "<=": { binds: 1, apply: (a, b) => Number(a <= b) },
  ">": { binds: 1, apply: (a, b) => Number(a > b) },
  ">=": { binds: 1, apply: (a, b) => Number(a >= b) },
  "+": { binds: 2, apply: (a, b) => a + b },
  "-": { binds: 2, apply: (a, b) => a - b },
  "*": { binds: 3, apply: (a, b) => a * b },
  "/": { binds: 3, apply: (a, b) => a / b },
  "^": { binds: 5, right: true, apply: (a, b) => (b === 2 ? a * a : a ** b) },
};
const COMPARING = 1; // once: 1 < x < 2 is refused
const SIGN = 4; // binds weaker than ^: -x^2 is -(x^2)

type Token = { text: string; at: number };

/** The function of this text. Throws FormulaError in one line. */
export function parse(text: string): Formula {
  if (text.trim() === "") throw new FormulaError("f(x) is empty; write for example x^2 + sin(x)");
  if (text.length > LONGEST) throw new FormulaError(`f(x) is longer than ${LONGEST} characters`);
  return new Parser(tokens(text)).whole();
}

function tokens(text: string): Token[] {
  const pattern =
    /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[A-Za-z_]\w*|<=|>=|[-+*/^(),<>])|(\S))/gy;
  return [...text.trim().matchAll(pattern)].map((match) => {
    const at = match.index + match[0].length;
    if (match[2]) throw new FormulaError(`f(x), character ${at}: ${match[2]} means nothing here`);
    return { text: match[1], at: at - match[1].length + 1 };
  });
}

class Parser {
  private position = 0;

  constructor(private readonly items: Token[]) {}

  whole(): Formula {
    const formula = this.expression(0, 0);
    const left = this.items[this.position];
    if (left) {
      this.suggest(left);
      throw new FormulaError(`f(x), character ${left.at}: ${left.text} does not belong here`);
    }
    return formula;
  }

  /** Throws the spelling that is understood where a product is written without its sign: 3x, 2(x + 1). */
  private suggest(token: Token): void {
    const before = this.items[this.position - 1];
    if (!before || !/^[\w.)]+$/.test(before.text) || !/^[\w.(]+$/.test(token.text)) return;
    const next = this.items[this.position + 1]?.text === "(" ? `${token.text}(...)` : token.text;
    const factors = [before.text === ")" ? "(...)" : before.text, next === "(" ? "(...)" : next];
    throw new FormulaError(`f(x), character ${token.at}: write ${factors.join(" * ")}`);
  }

  private expression(least: number, depth: number): Formula {
    if (depth > DEEPEST) throw new FormulaError("f(x) is nested too deeply");
    let left = this.operand(depth);
    for (let compared = false; ;) {
      const operator = Object.hasOwn(BINARY, this.peek() ?? "") ? BINARY[this.peek() ?? ""] : null;
      if (!operator || operator.binds < least || (compared && operator.binds === COMPARING))
        return left;
      this.position++;
      compared ||= operator.binds === COMPARING;
      const [a, b] = [left, this.expression(operator.binds + (operator.right ? 0 : 1), depth + 1)];
      left = (x) => operator.apply(a(x), b(x));
    }
  }

  private operand(depth: number): Formula {
    const token = this.items[this.position++];
    if (!token) throw new FormulaError("f(x) ends too early");
    const { text } = token;
    if (/^0\d/.test(text))
      throw new FormulaError(`f(x), character ${token.at}: ${text} begins with 0`);
    if (/^[\d.]/.test(text)) return constant(Number(text));
    if (text === "-" || text === "+") {
      const value = this.expression(SIGN, depth + 1);
      return text === "-" ? (x) => -value(x) : value;
    }
    if (text === "(") {
      const inner = this.expression(0, depth + 1);
      this.expect(")");
      return inner;
    }
    if (text === "x") return (x) => x;
    if (Object.hasOwn(CONSTANTS, text)) return constant(CONSTANTS[text]);
    if (Object.hasOwn(FUNCTIONS, text)) return this.call(text, depth);
    const names = ["x", ...Object.keys(CONSTANTS), ...Object.keys(FUNCTIONS)].join(", ");
    throw new FormulaError(
      `f(x), character ${token.at}: ${text} is unknown here; allowed are ${names}`,
    );
  }

  private call(name: string, depth: number): Formula {
    const next = this.items[this.position];
    if (next && /^[\w.]+$/.test(next.text))
      throw new FormulaError(`f(x), character ${next.at}: write ${name}(${next.text})`);
    this.expect("(");
    const values = [this.expression(0, depth + 1)];
    while (this.peek() === ",") {
      this.position++;
      values.push(this.expression(0, depth + 1));
    }
    this.expect(")");
    const wanted = ARGUMENTS[name] ?? 1;
    if (values.length !== wanted)
      throw new FormulaError(`f(x): ${name} takes ${wanted}, not ${values.length}`);
    const apply = FUNCTIONS[name];
    return (x) => apply(...values.map((value) => value(x)));
  }

  private peek(): string | undefined {
    return this.items[this.position]?.text;
  }

  private expect(text: string): void {
    const token = this.items[this.position];
    if (token?.text !== text) {
      if (token) this.suggest(token);
      throw new FormulaError(
        token ? `f(x), character ${token.at}: ${text} expected` : `f(x): ${text} is missing`,
      );
    }
    this.position++;
  }
}

const constant =
  (value: number): Formula =>
  () =>
    value;
