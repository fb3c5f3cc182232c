import { expect, it } from "vitest";
import { archiveUrl, digestOfArchiveUrl } from "./archive-url.ts";

const digest = "ab".repeat(32);

it.each([
  archiveUrl(digest),
  `http://127.0.0.1:8890/v1/archive?id=sha256%3A${digest}`,
  `https://storage.example/v1/archive?x=1&id=sha256:${digest.toUpperCase()}`,
])("finds the digest in %s", (url) => {
  expect(digestOfArchiveUrl(url)).toBe(digest);
});

it.each([
  `http://h/v1/archive?id=${digest}`,
  `http://h/v2/archive?id=sha256:${digest}`,
  `http://h/v1/archive?id=sha256:${digest}0`,
  `http://h/x?u=/v1/archive?id=sha256:${digest.slice(1)}`,
])("finds none in %s", (url) => {
  expect(digestOfArchiveUrl(url)).toBeUndefined();
});
