import type { Part } from "../part.ts";
import { type ControllerSettings, startControllers } from "./controllers.ts";

/** The built-in controllers as a part of the server. */
export function controllersPart(settings: ControllerSettings): Part {
  return (context) =>
    startControllers(context.store, settings, (message) => context.log(`controllers: ${message}`));
}
