// What the page says of the published seeds and of what it does not show.
import type { PublishedBand } from "../state/bands";
import type { Claim, Verdict } from "../state/evidence";
import { byId, grouped, make, percent } from "./dom";

/** Which seeds the bands are of, and what differs from them. */
export function aboutBand(
  experiment: string,
  band: PublishedBand | null,
  differing: string[],
  comparable: boolean,
): void {
  const words = (): string => {
    if (!band)
      return `No ensemble of ${experiment} came with this page: make ensembles playground.`;
    const { replicas, seeds } = band.band;
    const whose = `${grouped.format(replicas)} seeds (${seeds[0]} to ${seeds[1]}) of ${experiment} as published`;
    if (!comparable)
      return `No band: it would be of ${whose}, and another function, other rows or another loss are trained here.`;
    const apart = differing.length ? ` Yours differs in ${differing.join(", ")}.` : "";
    return `Bands: central 50 and 90 % of ${whose}, the fit after all its steps. A diverged one counts as infinite.${apart}`;
  };
  byId("about-band").textContent = words();
}

/** What the ledger says of the published run itself. */
export function verdictWords(experiment: string, verdict: Verdict | null): string {
  if (!verdict) return "";
  if (verdict.decided_by === "curve only" || verdict.replicas === null) {
    return `${experiment} is published as a curve; there is no number to judge.`;
  }
  const between = verdict.between ? ` between ${verdict.between}` : "";
  const what = verdict.decided_by === "trace" ? "all losses it prints" : "its last number";
  const at =
    verdict.percentile === null ? "" : `; its last number is at percentile ${percentile(verdict)}`;
  const seeds = grouped.format(verdict.replicas);
  return `The published run among ${seeds} seeds, by ${what}: ${verdict.verdict}${between}${at}.`;
}

const percentile = ({ percentile }: Verdict): string => (100 * (percentile ?? 0)).toFixed(0);

/** The ledger's conclusions of a tutorial. */
export function showClaims(claims: Claim[], tutorial: string): void {
  const items = claims
    .filter((claim) => claim.tutorial === tutorial)
    .map((c) => make("li", {}, `${c.claim}: ${c.column}, `, ...numbers(c)));
  const none = claims.length
    ? "The ledger has no conclusion of this tutorial."
    : "No ledger came with this page: make ensembles report playground.";
  byId("claims").replaceChildren(...(items.length ? items : [make("li", {}, none)]));
}

function numbers({ share, replicas, low, high, measure }: Claim): (string | HTMLElement)[] {
  const seeds = `${percent(share)} of ${grouped.format(replicas)} seeds `;
  const interval =
    low === null || high === null ? "" : `95 % interval ${percent(low)} to ${percent(high)}; `;
  return [seeds, make("small", {}, `(${interval}${measure})`)];
}

/** The experiments that are not shown, by the reason. */
export function leftOut(reasons: Record<string, string>): string {
  const parts = [...new Set(Object.values(reasons))].map((why) => {
    const names = Object.keys(reasons).filter((name) => reasons[name] === why);
    return `${names.join(", ")} (${why})`;
  });
  return parts.length ? `Not shown: ${parts.join("; ")}. ` : "";
}
