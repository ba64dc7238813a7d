// The same through openapi-fetch, with the types that openapi-typescript makes by its defaults.
import createClient from 'openapi-fetch';
import type { components, paths } from './types.js';

const api = createClient<paths>({ baseUrl: process.argv[2] ?? '' });
const spec: components['schemas']['JobSpec'] = {
  problem: {
    kind: 'function',
    function: { kind: 'expression', expression: '0.1*x1**2 + 2*x2**2' },
    start: { x1: -5, x2: -2 },
  },
  optimizer: { kind: 'sgd', lr: 0.4 },
  budget: { max_steps: 20 },
};
const made = await api.POST('/v1/jobs', { body: spec });
if (made.data === undefined) throw new Error(JSON.stringify(made.error));
const path = { job_id: made.data.id };
const ended = await api.GET('/v1/jobs/{job_id}', { params: { path, query: { wait: 60 } } });
if (ended.data?.status !== 'succeeded') throw new Error(JSON.stringify(ended));
const again = await api.POST('/v1/jobs', { body: ended.data.spec });
if (again.data === undefined) throw new Error(JSON.stringify(again.error));
console.log(`${made.data.id} ${again.data.id}`);
