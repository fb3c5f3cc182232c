import type { TimeTrigger } from "../../api/kinds/index.ts";
import { timerCallFault } from "../../api/timer-call-fault.ts";
import type { ConditionUpdate } from "../../kube/conditions.ts";
import { scheduleFault } from "../../net/calendar/cron-fault.ts";
import { scheduleOf } from "../../net/calendar/schedule.ts";
import { NO_TRIGGER_SERVICE } from "../unattended-triggers.ts";
import { describeTarget, type Problem, type TargetSurroundings, targetProblem } from "../trigger-target.ts";

/**
 * The conditions Scheduled (its times are known and more are to come) and Ready (and what it calls is there). Pure.
 * @param isUnattended there is nobody who would fire it
 */
export function timerConditions(
  timer: TimeTrigger,
  surroundings: TargetSurroundings,
  now: Date,
  isUnattended = false,
): ConditionUpdate[] {
  const fault = specProblem(timer, now);
  const scheduled: ConditionUpdate = fault
    ? { type: "Scheduled", status: "False", ...fault }
    : { type: "Scheduled", status: "True", reason: "Scheduled", message: describeSchedule(timer) };
  const problem =
    fault ?? targetProblem(timer.metadata.namespace ?? "default", timer.spec.functionref, surroundings);
  const ready: ConditionUpdate = problem
    ? { type: "Ready", status: "False", ...problem }
    : {
        type: "Ready",
        status: "True",
        reason: "Scheduled",
        message: `${describeSchedule(timer)} calls ${describeTarget(timer.spec.functionref)}`,
      };
  if (isUnattended && !problem)
    return [scheduled, { type: "Ready", status: "Unknown", ...NO_TRIGGER_SERVICE }];
  return [scheduled, ready];
}

function specProblem({ metadata, spec }: TimeTrigger, now: Date): Problem | undefined {
  const fault = scheduleFault(spec);
  if (fault !== undefined)
    return { reason: fault.includes("spec.cron") ? "InvalidCron" : "InvalidSchedule", message: fault };
  const call = timerCallFault(spec);
  if (call !== undefined) return { reason: "InvalidSpec", message: `Cannot schedule the trigger: ${call}` };
  if (spec.suspend)
    return {
      reason: "Suspended",
      message: "Nothing fires while spec.suspend is true; set it to false to go on",
    };
  const anchorMs = Date.parse(metadata.creationTimestamp ?? "") || 0;
  if (scheduleOf(spec, anchorMs).next(now.getTime()) === undefined)
    return {
      reason: "Ended",
      message: "No time of the schedule is to come any more: spec.endTime is reached",
    };
  return undefined;
}

function describeSchedule({ spec }: TimeTrigger): string {
  const zone = spec.timeZone ? ` in ${spec.timeZone}` : "";
  const span = [spec.startTime && ` from ${spec.startTime}`, spec.endTime && ` until ${spec.endTime}`];
  return `"${spec.cron}"${zone}${span.filter(Boolean).join("")}`;
}
