/** On an Environment whose image is built from ours under another name: `direct`, or `sidecar` to treat ours as a foreign one. */
export const ANNOTATION_SPECIALISATION = "isotope.dev/specialisation";

/** What stands beside images of others, under its usual name. */
export const FETCHER_IMAGE = "isotope/fetcher";

const OWN_RUNTIME = /(?:^|\/)isotope\/deno-env(?:[:@]|$)/;

/**
 * Whether pods of an image are specialised directly (one container, code and variables in one call) or, as any other image of the
 * environment contract, through the fetcher beside it.
 */
export function isDirectImage(image: string, annotations?: Readonly<Record<string, string>>): boolean {
  const said = annotations?.[ANNOTATION_SPECIALISATION];
  if (said === "direct") return true;
  if (said === "sidecar") return false;
  return OWN_RUNTIME.test(image);
}
