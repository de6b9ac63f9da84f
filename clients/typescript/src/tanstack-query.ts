// Options for TanStack Query, in whatever framework: a task that is found again by the name it was handed in by.
import type { MutationFunctionContext, QueryFunctionContext } from '@tanstack/query-core';
import { problemOf } from './caller.js';
import type { SubmitRequest, TaskDocument } from './documents.js';
import { TaskFailed } from './errors.js';
import type { Relais } from './relais.js';

/** What a query of this package is found by in the cache. */
export type RelaisKey = readonly ['relais', string, 'task' | 'result'];

/** For `useMutation`: hands a task in by this name. The queries of the name follow it from then on. */
export function submitMutation(relais: Relais, name: string) {
  return {
    mutationKey: ['relais', name, 'submit'] as const,
    mutationFn: async (request: SubmitRequest): Promise<string> => (await relais.submit(request, { name })).id,
    onSuccess: (_id: string, _request: SubmitRequest, _result: unknown, { client }: MutationFunctionContext) => {
      // Not waited for: they are there once the task is over.
      void client.invalidateQueries({ queryKey: ['relais', name] });
    },
  };
}

/**
 * For `useQuery`: the latest task of this name, told anew each time that something happens to it; `null` where
 * this browser has handed in none. After a reload, and in another tab, it is the same.
 */
export function taskQuery(relais: Relais, name: string) {
  return {
    queryKey: ['relais', name, 'task'] as RelaisKey,
    ...followed,
    queryFn: async ({ client, queryKey, signal }: QueryFunctionContext<RelaisKey>): Promise<TaskDocument | null> => {
      const [task] = await relais.tasks(name);
      if (!task) return null;
      let now: TaskDocument | null = null;
      for await (now of task.follow({ signal })) client.setQueryData(queryKey, now);
      return now;
    },
  };
}

/**
 * For `useQuery`: the answer of the latest task of this name, as `read` reads it (JSON unless said); `null` where
 * there is none. Its error is a `TaskFailed` where the task has no good answer.
 */
export function resultQuery<Result = unknown>(
  relais: Relais,
  name: string,
  read: (answer: Response) => Promise<Result> = (answer) => answer.json() as Promise<Result>,
) {
  return {
    queryKey: ['relais', name, 'result'] as RelaisKey,
    ...followed,
    queryFn: async ({ signal }: QueryFunctionContext<RelaisKey>): Promise<Result | null> => {
      const [task] = await relais.tasks(name);
      if (!task) return null;
      const answer = await task.result({ signal });
      if (!answer.ok) throw new TaskFailed(task.id, answer, await problemOf(answer));
      return read(answer);
    },
  };
}

/** The client itself tries again, and what is over does not change by itself. */
const followed = { retry: false, staleTime: Infinity } as const;
