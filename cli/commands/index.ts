import type { Command } from "../command.ts";
import type { Noun } from "../help.ts";
import { aliasCommands } from "./alias.ts";
import { archiveCommands } from "./archive.ts";
import { canaryCommands } from "./canary.ts";
import { deploy } from "./deploy.ts";
import { dev } from "./dev.ts";
import { dlqCommands } from "./dlq.ts";
import { init } from "./init.ts";
import { envCommands } from "./env.ts";
import { fnCommands } from "./fn/index.ts";
import { httptriggerCommands } from "./httptrigger.ts";
import { invocationCommands } from "./invocation.ts";
import { mqtriggerCommands } from "./mqtrigger.ts";
import { pkgCommands } from "./pkg.ts";
import { releaseCommands } from "./release.ts";
import { secretCommands } from "./secret.ts";
import { specCommands } from "./spec.ts";
import { start, stop } from "./start.ts";
import { check, status, version } from "./status.ts";
import { timetriggerCommands } from "./timetrigger.ts";
import { watchCommands } from "./watch.ts";
import { topicCommands } from "./topic.ts";
import { describeWorkflow } from "./workflow/describe.ts";
import { workflowObjectCommands } from "./workflow/objects.ts";
import { workflowRunsCommands } from "./workflow/runs.ts";
import { workflowStartCommands } from "./workflow/start.ts";

/** Nouns in the order of `isotope --help`. */
export const NOUNS: readonly Noun[] = [
  { name: "fn", aliases: ["function", "functions"], summary: "Functions: create, change, call, watch" },
  { name: "httptrigger", aliases: ["route", "ht", "routes"], summary: "Routes from HTTP to functions" },
  {
    name: "timetrigger",
    aliases: ["timer", "tt", "timers", "timetriggers"],
    summary: "Timers: call functions on a schedule",
  },
  {
    name: "watch",
    aliases: ["w", "watches"],
    summary: "Watches: call functions when Kubernetes objects change",
  },
  {
    name: "mqtrigger",
    aliases: ["mqt", "mqtriggers"],
    summary: "Queues and streams: call functions for their messages",
  },
  { name: "topic", aliases: ["topics"], summary: "Built-in topics: publish, look into them" },
  {
    name: "invocation",
    aliases: ["invocations", "inv"],
    summary: "Asynchronous invocations: look at them, cancel them",
  },
  { name: "dlq", aliases: ["dead-letters"], summary: "Dead letters: list, show, deliver again, remove" },
  {
    name: "release",
    aliases: ["releases"],
    summary: "Releases that run: watch, promote, abort, pause, resume, retry",
  },
  { name: "alias", aliases: ["aliases"], summary: "Names for one or two versions of a function" },
  {
    name: "canary",
    aliases: ["canary-config", "canaries"],
    summary: "Canaries: move a route's traffic step by step to what is new",
  },
  { name: "workflow", aliases: ["wf", "workflows"], summary: "Workflows: create, check, run, draw" },
  {
    name: "workflow runs",
    aliases: ["runs"],
    summary: "Runs of workflows: follow, steer, take up again",
  },
  {
    name: "env",
    aliases: ["environment", "environments"],
    summary: "Environments: runtime and builder images, pools",
  },
  { name: "pkg", aliases: ["package", "packages"], summary: "Packages: sources, builds, archives" },
  { name: "secret", aliases: ["secrets"], summary: "Secrets that functions are given" },
  { name: "archive", aliases: ["ar", "archives"], summary: "Archives in the store" },
  {
    name: "spec",
    aliases: ["specs"],
    summary: "Declarative specs: a folder of YAML that is applied as a whole",
  },
];

/** Every command. */
export const COMMANDS: readonly Command[] = [
  init,
  start,
  dev,
  deploy,
  status,
  check,
  version,
  stop,
  ...fnCommands,
  ...httptriggerCommands,
  ...timetriggerCommands,
  ...watchCommands,
  ...mqtriggerCommands,
  ...topicCommands,
  ...invocationCommands,
  ...dlqCommands,
  ...releaseCommands,
  ...aliasCommands,
  ...canaryCommands,
  ...workflowObjectCommands,
  describeWorkflow,
  ...workflowStartCommands,
  ...workflowRunsCommands,
  ...envCommands,
  ...pkgCommands,
  ...archiveCommands,
  ...secretCommands,
  ...specCommands,
];
