/**
 * Archives in packages are named by URL, as in the reference system; ours are content-addressed, so that the URL carries the digest and
 * no process needs to ask its host. The host is the storage service's name inside a cluster.
 */
const OWN_URL = /^https?:\/\/[^/?#]+\/v1\/archive\?(?:.*&)?id=(?:sha256(?::|%3A))([a-f0-9]{64})(?:&|$)/i;

/** @param digest sha256 in hex. */
export const archiveUrl = (digest: string): string =>
  `http://storagesvc.fission/v1/archive?id=sha256:${digest}`;

/** The sha256 (hex) of an archive of our own storage; undefined for any other URL. */
export const digestOfArchiveUrl = (url: string): string | undefined => OWN_URL.exec(url)?.[1]?.toLowerCase();
