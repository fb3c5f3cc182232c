import type { Command } from "../command.ts";
import type { Noun } from "../help.ts";
import { deploy } from "./deploy.ts";

/** Nouns in the order of `isotope --help`. */
export const NOUNS: readonly Noun[] = [];

/** Every command. */
export const COMMANDS: readonly Command[] = [deploy];
