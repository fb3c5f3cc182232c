/** Tests of workflows with virtual time: `import { testWorkflow } from "@isotope/platform/workflows/testing"`. */
export {
  testWorkflow,
  type TestWorkflowOptions,
  type WorkflowTest,
} from "../workflows/testing/test-workflow.ts";
export {
  type MadeCall,
  type MockCall,
  type MockFunction,
  StepError,
} from "../workflows/testing/mocked-functions.ts";
