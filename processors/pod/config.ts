import { z } from 'zod';

export const config = z.strictObject({
  labels: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'Labels of the pod to put on its data as k8s.pod.label.<key>; * stands for any characters: app.kubernetes.io/*',
    ),
  annotations: z.array(z.string().min(1)).default([]).describe('As labels, for annotations: k8s.pod.annotation.<key>.'),
  workload: z
    .boolean()
    .default(true)
    .describe('Tell the workload (Deployment, DaemonSet, ...) from what its controller writes on the pod.'),
  max_value_length: z
    .number()
    .int()
    .positive()
    .default(1024)
    .describe('Longer values of labels and annotations are left out and counted.'),
});

export type PodConfig = z.output<typeof config>;
