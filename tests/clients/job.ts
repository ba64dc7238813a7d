// A job, its continuation and a study through the client that @hey-api/openapi-ts generates; it
// compiles under `strict`, so that the types are right too.
import { client } from './generated/client.gen.js';
import {
  continueJob,
  createJob,
  createStudy,
  getJob,
  getJobHistory,
  getStudy,
} from './generated/sdk.gen.js';
import type { JobSpec, ProblemDetails, ResolvedJobSpec, StudySpec } from './generated/types.gen.js';

client.setConfig({ baseUrl: process.argv[2] });

function there<T>(data: T | undefined, error: unknown): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

function check(held: boolean, of: unknown): void {
  if (!held) throw new Error(JSON.stringify(of));
}

const spec: JobSpec = {
  problem: {
    kind: 'supervised',
    data: { kind: 'builtin', name: 'iris' },
    model: { kind: 'mlp', hidden: [8], norm: { kind: 'layer' } },
  },
  optimizer: { kind: 'adam', lr: 0.01 },
  schedule: { kind: 'cosine' },
  budget: { max_steps: 50 },
};
const made = await createJob({ body: spec });
const id = there(made.data, made.error).id;

const read = await getJob({ path: { job_id: id }, query: { wait: 60 } });
const ended = there(read.data, read.error);
check(ended.status === 'succeeded', ended);

// What comes back has every default written out, and can be sent as it is.
const resolved: ResolvedJobSpec = ended.spec;
check(resolved.seed === 0 && resolved.budget.max_steps === 50, resolved);
check(resolved.schedule.kind === 'cosine' && resolved.schedule.T_max === 50, resolved);
const again = await createJob({ body: resolved });
there(again.data, again.error);

const rows = await getJobHistory({ path: { job_id: id }, query: { series: 'loss', limit: 5 } });
check(there(rows.data, rows.error).series.loss?.length === 5, rows);
const longer = await continueJob({ path: { job_id: id }, body: { budget: { max_steps: 60 } } });
check(there(longer.data, longer.error).parent_id === id, longer);

const sweep: StudySpec['sweep'] = { 'optimizer.lr': { log: [0.001, 0.1], count: 3 } };
const posted = await createStudy({ body: { base: spec, sweep, strategy: { kind: 'grid' } } });
const study = there(posted.data, posted.error).id;
const done = await getStudy({ path: { study_id: study }, query: { wait: 60 } });
check(there(done.data, done.error).status === 'succeeded', done);

const wrong = await createJob({ body: { ...spec, seed: -1 } });
const problem = there<ProblemDetails>(wrong.error, wrong.data);
check(problem.errors?.[0]?.param === 'seed', problem);
console.log(`${id} ${study}`);
