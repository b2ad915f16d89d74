// What the page says of the published seeds and of what it does not show.
import type { PublishedBand } from "../state/bands";
import type { Claim, Verdict } from "../state/evidence";
import { byId, grouped, make } from "./dom";

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
    const { diverged } = band.band;
    const lost = diverged
      ? ` ${grouped.format(diverged)} of them diverged: they are left out of the fit's band and count as infinite losses.`
      : "";
    return `Bands: central 50 and 90 % of ${whose}, the fit after all its steps.${lost}${apart}`;
  };
  byId("about-band").textContent = words();
}

/** Why the published seeds are not shown, in three words; empty if they are. */
export function reasonForNoBand(band: PublishedBand | null, differing: string[]): string {
  if (!band) return "no seeds trained";
  if (differing.some((key) => key === "target" || key === "target.f"))
    return "another function here";
  if (differing.some((key) => key.startsWith("target"))) return "other rows here";
  return differing.includes("loss") ? "another loss here" : "";
}

/** Says so where the seeds would be. */
export function noBand(reason: string): void {
  for (const place of document.querySelectorAll<HTMLElement>("[data-no-band]")) {
    place.hidden = reason === "";
    place.textContent = `no seeds: ${reason}`;
  }
}

/** What the ledger says of the published run itself, in its words. */
export function verdictWords(experiment: string, verdict: Verdict | null): string {
  if (!verdict) return "";
  if (verdict.said === "curve only")
    return `${experiment} is published as a curve only; there is no number to judge.`;
  const seeds = verdict.replicas === null ? "" : ` among ${grouped.format(verdict.replicas)} seeds`;
  return `The page's run of ${experiment}${seeds}: ${verdict.said}.`;
}

/** The ledger's conclusions of a tutorial. */
export function showClaims(claims: Claim[], tutorial: string): void {
  const items = claims
    .filter((claim) => claim.tutorial === tutorial)
    .map((c) => make("li", {}, `${c.claim}: ${c.said} `, make("small", {}, `(${c.measure})`)));
  const none = claims.length
    ? "The ledger has no conclusion of this tutorial."
    : "No ledger came with this page: make ensembles report playground.";
  byId("claims").replaceChildren(...(items.length ? items : [make("li", {}, none)]));
}

/** The experiments that are not shown, by the reason. */
export function leftOut(reasons: Record<string, string>): string {
  const parts = [...new Set(Object.values(reasons))].map((why) => {
    const names = Object.keys(reasons).filter((name) => reasons[name] === why);
    return `${names.join(", ")} (${why})`;
  });
  return parts.length ? `Not shown: ${parts.join("; ")}. ` : "";
}
