import { fromBinary } from '@bufbuild/protobuf';
import type { Envelope } from './proto/events_pb.ts';
import { TaskExitSchema } from './proto/task_pb.ts';

/** Topics after which a list may differ. Probes by exec make four events each on a busy node: none of them is among these. */
const topics = ['/tasks/start', '/tasks/exit', '/containers/delete'] as const;

/** What to subscribe to; containerd joins the strings by "or" and the terms by "and". */
export const eventFilters: readonly string[] = topics.map((topic) => `namespace==k8s.io,topic=="${topic}"`);

/**
 * True when the event says that a container or sandbox started, ended or is gone. The end of a process that was started by exec in a
 * running container comes under the same topic as the container's own and changes no list.
 */
export function isChange({ topic, event }: Envelope): boolean {
  if (!(topics as readonly string[]).includes(topic)) return false;
  if (topic !== '/tasks/exit' || event === undefined) return true;
  try {
    const { containerId, id } = fromBinary(TaskExitSchema, event.value);
    return id === '' || id === containerId;
  } catch {
    return true;
  }
}
