// A formula is what it says, and nothing else is one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FormulaError, parse } from "../model/formula";

const X = [-2, -1.5, -0.3, 0, 0.7, 1, 2];

const SAME: [string, (x: number) => number][] = [
  ["-x^2", (x) => -(x * x)],
  ["2^3^2 + 0*x", () => 512],
  ["2^-x", (x) => 2 ** -x],
  ["x / 2 / 4", (x) => x / 8],
  ["1 - 2 - x", (x) => -1 - x],
  ["where(x < 0, -1, max(x, .5e0))", (x) => (x < 0 ? -1 : Math.max(x, 0.5))],
  ["(x >= 1) * pi", (x) => (x >= 1 ? Math.PI : 0)],
  ["e^(-abs(x)) * tanh(sqrt(4))", (x) => Math.exp(-Math.abs(x)) * Math.tanh(2)],
  ["1 < x + 1", (x) => (x > 0 ? 1 : 0)],
];

for (const [text, f] of SAME) {
  test(`${text} is read as it is written`, () => {
    for (const x of X) {
      const [is, wanted] = [parse(text)(x), f(x)];
      assert.ok(
        Math.abs(is - wanted) <= 1e-14 * Math.max(1, Math.abs(wanted)),
        `${is}, not ${wanted}`,
      );
    }
  });
}

test("a product without its sign is answered with the sign", () => {
  for (const [text, wanted] of [
    ["sin(3x)", "write 3 * x"],
    ["2x", "write 2 * x"],
    ["2(x + 1)", "write 2 * (...)"],
    ["(x + 1)(x - 1)", "write (...) * (...)"],
    ["3 sin(x)", "write 3 * sin(...)"],
    ["sin x", "write sin(x)"],
  ]) {
    assert.throws(
      () => parse(text),
      (error: Error) => error.message.endsWith(wanted),
      text,
    );
  }
});

const NONE = [
  "",
  "x.real",
  "alert(1)",
  "x**2",
  "2x",
  "sin x",
  "sin(x, x)",
  "where(x<1, 2)",
  "1<x<2",
];
NONE.push(
  "constructor",
  "__proto__",
  "toString()",
  "x=1",
  "y",
  "x;x",
  "x,x",
  "[x]",
  "'a'",
  "`x`",
  "01",
);
NONE.push(
  "x ? 1 : 2",
  "()=>1",
  "x +",
  "(x",
  "x)",
  `${"(".repeat(90)}x${")".repeat(90)}`,
  "x+".repeat(150),
);
NONE.push("this", "window", "\\u0061", "x // 1", "1_0", "hasOwnProperty(x)", "valueOf");

for (const text of NONE) {
  test(`${text.slice(0, 30)} is refused in one line`, () => {
    assert.throws(
      () => parse(text),
      (error: Error) => error instanceof FormulaError && !error.message.includes("\n"),
    );
  });
}
