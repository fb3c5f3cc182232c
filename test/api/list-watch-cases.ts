import { describe, expect, test } from "vitest";
import type { Body } from "./api-client.ts";
import { configMap, refused, type Target, useSuite } from "./suite.ts";

const names = (list: Body): string[] => list.items.map((item: Body) => item.metadata.name as string);

/** Lists, selectors, pages, watches. */
export function listWatchCases(connect: () => Target): void {
  describe("lists", () => {
    const suite = useSuite(connect);
    const { core } = suite;
    const list = async (query: string, resource = "configmaps"): Promise<Body> => {
      const answer = await suite.connection.request("GET", `${core(resource)}?${query}`);
      expect(answer.status, answer.text).toBe(200);
      return answer.body;
    };

    test("select by labels", async () => {
      await suite.create(core("configmaps"), configMap("l1", {}, { app: "web", tier: "front" }));
      await suite.create(core("configmaps"), configMap("l2", {}, { app: "web", tier: "back" }));
      await suite.create(core("configmaps"), configMap("l3", {}, { app: "db" }));
      const select = async (selector: string): Promise<string[]> =>
        names(await list(`labelSelector=${encodeURIComponent(selector)}`));
      expect(await select("app=web")).toEqual(["l1", "l2"]);
      expect(await select("app==web,tier!=back")).toEqual(["l1"]);
      expect(await select("app in (web, db),!tier")).toEqual(["l3"]);
      expect(await select("app,tier notin (front)")).toEqual(["l2", "l3"]);
      expect(await select("tier")).toEqual(["l1", "l2"]);
      const answer = await suite.connection.request(
        "GET",
        `${core("configmaps")}?labelSelector=${encodeURIComponent("a in (")}`,
      );
      refused(answer, 400, "BadRequest");
    });

    test("select by fields", async () => {
      await suite.create(core("configmaps"), configMap("f1"));
      expect(names(await list("fieldSelector=metadata.name%3Df1"))).toEqual(["f1"]);
      expect(
        names(await list(`fieldSelector=metadata.namespace%3D${suite.namespace}%2Cmetadata.name%3Df1`)),
      ).toEqual(["f1"]);
      refused(
        await suite.connection.request("GET", `${core("configmaps")}?fieldSelector=data.a%3Db`),
        400,
        "BadRequest",
      );
      const secret = (name: string, type: string, data: Record<string, string>): Promise<Body> =>
        suite.create(core("secrets"), { metadata: { name }, type, stringData: data });
      await secret("s1", "Opaque", {});
      await secret("s2", "kubernetes.io/basic-auth", { username: "u", password: "p" });
      expect(names(await list("fieldSelector=type%3Dkubernetes.io/basic-auth", "secrets"))).toEqual(["s2"]);
    });

    test("come in pages", async () => {
      for (let n = 0; n < 7; n++)
        await suite.create(core("configmaps"), configMap(`page-${n}`, {}, { paged: "yes" }));
      const seen: string[] = [];
      let token = "";
      let version = "";
      let pages = 0;
      do {
        const page = await list(`labelSelector=paged&limit=3&continue=${encodeURIComponent(token)}`);
        expect(page.items.length).toBeLessThanOrEqual(3);
        if (version) expect(page.metadata.resourceVersion).toBe(version);
        version = page.metadata.resourceVersion;
        seen.push(...names(page));
        token = page.metadata.continue ?? "";
        pages++;
      } while (token);
      expect(pages).toBe(3);
      expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6].map((n) => `page-${n}`));
      refused(
        await suite.connection.request("GET", `${core("configmaps")}?limit=3&continue=nonsense`),
        400,
        "BadRequest",
      );
    });

    test("cover all namespaces, and say their kind", async () => {
      await suite.create(core("configmaps"), configMap("everywhere", {}, { unique: suite.namespace }));
      const all = await suite.connection.request(
        "GET",
        `/api/v1/configmaps?labelSelector=unique%3D${suite.namespace}`,
      );
      expect(all.body).toMatchObject({ kind: "ConfigMapList", apiVersion: "v1" });
      expect(names(all.body)).toEqual(["everywhere"]);
      expect(Number(all.body.metadata.resourceVersion)).toBeGreaterThan(0);
    });
  });

  describe("watch", () => {
    const suite = useSuite(connect);
    const { core } = suite;
    const version = async (): Promise<string> =>
      (await suite.connection.request("GET", core("configmaps"))).body.metadata.resourceVersion as string;
    const put = (name: string, labels: Record<string, string>, data = {}) =>
      suite.connection.request(
        "PATCH",
        core(`configmaps/${name}`),
        { metadata: { labels }, data },
        { contentType: "application/merge-patch+json" },
      );

    test("tells of creation, change and deletion, in order", async () => {
      const watch = await suite.connection.watch(
        `${core("configmaps")}?watch=true&resourceVersion=${await version()}`,
      );
      expect(watch.status).toBe(200);
      await suite.create(core("configmaps"), configMap("w1"));
      await put("w1", { a: "b" });
      await suite.connection.request("DELETE", core("configmaps/w1"));
      const last = await watch.until(
        (event) => event.type === "DELETED" && event.object.metadata.name === "w1",
      );
      const mine = watch.events.filter((event) => event.object.metadata.name === "w1");
      expect(mine.map((event) => event.type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
      const versions = mine.map((event) => Number(event.object.metadata.resourceVersion));
      expect(versions).toEqual([...versions].sort((a, b) => a - b));
      expect(last.object.metadata.labels).toEqual({ a: "b" });
      watch.close();
    });

    test("resumes where another left off", async () => {
      const from = await version();
      await suite.create(core("configmaps"), configMap("r1"));
      await suite.create(core("configmaps"), configMap("r2"));
      const first = await suite.connection.watch(`${core("configmaps")}?watch=1&resourceVersion=${from}`);
      const seen = await first.until((event) => event.object.metadata.name === "r1");
      first.close();
      const second = await suite.connection.watch(
        `${core("configmaps")}?watch=true&resourceVersion=${seen.object.metadata.resourceVersion}`,
      );
      await second.until((event) => event.object.metadata.name === "r2");
      expect(second.events.some((event) => event.object.metadata.name === "r1")).toBe(false);
      second.close();
    });

    test("without a version begins with what there is", async () => {
      await suite.create(core("configmaps"), configMap("present"));
      const watch = await suite.connection.watch(`${core("configmaps")}?watch=true`);
      const event = await watch.until(({ object }) => object.metadata.name === "present");
      expect(event.type).toBe("ADDED");
      watch.close();
    });

    test("a selection sees objects enter and leave it", async () => {
      const watch = await suite.connection.watch(
        `${core("configmaps")}?watch=true&labelSelector=chosen%3Dyes&resourceVersion=${await version()}`,
      );
      await suite.create(core("configmaps"), configMap("sel", {}, { chosen: "no" }));
      await put("sel", { chosen: "yes" });
      await put("sel", { chosen: "yes", more: "1" });
      await put("sel", { chosen: "no" });
      await watch.until((event) => event.type === "DELETED");
      expect(watch.events.map((event) => event.type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
      watch.close();
    });

    test("of one object by name", async () => {
      const watch = await suite.connection.watch(
        `${core("configmaps")}?watch=true&fieldSelector=metadata.name%3Donly&resourceVersion=${await version()}`,
      );
      await suite.create(core("configmaps"), configMap("not-it"));
      await suite.create(core("configmaps"), configMap("only"));
      await watch.until((event) => event.object.metadata.name === "only");
      expect(watch.events.length).toBe(1);
      watch.close();
    });

    test("ends when its time is over", async () => {
      const watch = await suite.connection.watch(
        `${core("configmaps")}?watch=true&timeoutSeconds=1&resourceVersion=${await version()}`,
      );
      await watch.ended;
    });

    test("marks the end of the initial events when asked to", async () => {
      await suite.create(core("configmaps"), configMap("initial"));
      const watch = await suite.connection.watch(
        `${core("configmaps")}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`,
      );
      const mark = await watch.until((event) => event.type === "BOOKMARK");
      expect(mark.object.metadata.annotations["k8s.io/initial-events-end"]).toBe("true");
      expect(Number(mark.object.metadata.resourceVersion)).toBeGreaterThan(0);
      expect(
        watch.events.some((event) => event.type === "ADDED" && event.object.metadata.name === "initial"),
      ).toBe(true);
      watch.close();
      refused(
        await suite.connection.request("GET", `${core("configmaps")}?watch=true&sendInitialEvents=true`),
        422,
        "Invalid",
      );
    });

    test("rows of tables come one by one", async () => {
      const watch = await suite.connection.watch(
        `${core("configmaps")}?watch=true&resourceVersion=${await version()}`,
        {
          accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
        },
      );
      await suite.create(core("configmaps"), configMap("row"));
      const event = await watch.until(({ type }) => type === "ADDED");
      expect(event.object).toMatchObject({ kind: "Table" });
      expect(event.object.rows[0].cells[0]).toBe("row");
      watch.close();
    });
  });
}
