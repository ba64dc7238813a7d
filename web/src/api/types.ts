/** Names for the shapes of the API, from the types that the service's document gives. */
import type { components } from "./schema.gen";

type Schemas = components["schemas"];
export type Job = Schemas["Job"];
export type ListedJob = Schemas["ListedJob"];
export type JobPage = Schemas["JobPage"];
export type JobSpec = Schemas["JobSpec"];
export type ResolvedSpec = Schemas["ResolvedJobSpec"];
export type Diagnosis = Schemas["Diagnosis"];
export type Finding = Schemas["Finding"];
export type Remedy = Schemas["Remedy"];
export type History = Schemas["History"];
export type Rows = Pick<History, "series" | "total" | "returned" | "method" | "complete">;
export type Checkpoint = Schemas["Checkpoint"];
export type CheckpointPage = Schemas["CheckpointPage"];
export type ValidatedJob = Schemas["ValidatedJob"];
export type Version = Schemas["Version"];
export type JobComparison = Schemas["JobComparison"];
export type Study = Schemas["Study"];
export type ListedStudy = Schemas["ListedStudy"];
export type StudyPage = Schemas["StudyPage"];
export type StudyComparison = Schemas["StudyComparison"];
export type StudyRun = Schemas["Run"];
export type StudyRunPage = Schemas["RunPage"];
export type Status = Job["status"];
export type Outcome = NonNullable<Job["outcome"]>;
export type Mistake = { param: string; code: string; message: string };
export type ProblemDetails = Schemas["ProblemDetails"];
