"""GPU requests, and the scheduling of pods."""

from chart import ChartTest


class Scheduling(ChartTest):
    def test_no_gpu_is_requested_by_default(self) -> None:
        self.assertNotIn("nvidia.com/gpu", str(self.pod()))
        self.assertNotIn("tolerations", self.pod())

    def test_a_gpu_with_its_taint_and_runtime(self) -> None:
        pod = self.pod("{gpu: {count: 1, runtimeClassName: nvidia}, config: {model: {provider: cuda}}}")
        (container,) = pod["containers"]
        self.assertEqual(container["resources"]["limits"], {"nvidia.com/gpu": 1, "memory": "4Gi"})
        self.assertEqual(pod["tolerations"], [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}])
        self.assertEqual(pod["runtimeClassName"], "nvidia")

    def test_a_slice_of_a_gpu(self) -> None:
        pod = self.pod("{gpu: {count: 1, resource: nvidia.com/mig-1g.10gb, tolerate: false}, config: {model: {provider: cuda}}}")
        self.assertEqual(pod["containers"][0]["resources"]["limits"]["nvidia.com/mig-1g.10gb"], 1)
        self.assertNotIn("tolerations", pod)

    def test_the_provider_and_the_gpu_must_agree(self) -> None:
        self.refused("config: {model: {provider: cuda}}", "config.model.provider is cuda", "gpu.count to 1")
        self.refused("gpu: {count: 1}", "gpu.count is 1", "cuda or tensorrt")
        self.assertNotIn("nvidia.com/gpu", str(self.pod("config: {model: {provider: cuda, allow_cpu: true}}")))
        self.refused("{gpu: {count: 2}, config: {model: {provider: cuda}}}", "/gpu/count")

    def test_spread_counts_the_pods_of_one_revision(self) -> None:
        for values, key in [("", "pod-template-hash"), ("kind: StatefulSet", "controller-revision-hash")]:
            zone, host = self.pod(values)["topologySpreadConstraints"]
            self.assertEqual((zone["topologyKey"], host["topologyKey"]), ("topology.kubernetes.io/zone", "kubernetes.io/hostname"))
            for constraint in (zone, host):
                self.assertEqual(constraint["matchLabelKeys"], [key])
                labels = {"app.kubernetes.io/name": "dorfman", "app.kubernetes.io/instance": "test"}
                self.assertEqual(constraint["labelSelector"], {"matchLabels": labels})

    def test_a_configured_spread(self) -> None:
        (own,) = self.pod("topologySpread: [{topologyKey: rack, maxSkew: 2, matchLabelKeys: []}]")["topologySpreadConstraints"]
        self.assertEqual((own["maxSkew"], own["whenUnsatisfiable"]), (2, "ScheduleAnyway"))
        self.assertNotIn("topologySpreadConstraints", self.pod("topologySpread: []"))
        self.refused("topologySpread: [{maxSkew: 2}]", "/topologySpread/0", "topologyKey")

    def test_values_that_are_passed_on(self) -> None:
        values = """
            nodeSelector: {disk: fast}
            tolerations: [{key: images, operator: Exists}]
            affinity: {nodeAffinity: {}}
            priorityClassName: streaming
            imagePullSecrets: [{name: registry}]
            podAnnotations: {a: b}
            podLabels: {c: d}
        """
        pod, template = self.pod(values), self.one("Deployment", values)["spec"]["template"]["metadata"]
        self.assertEqual(pod["nodeSelector"], {"disk": "fast"})
        self.assertEqual(pod["tolerations"], [{"key": "images", "operator": "Exists"}])
        self.assertEqual(pod["affinity"], {"nodeAffinity": {}})
        self.assertEqual(pod["priorityClassName"], "streaming")
        self.assertEqual(pod["imagePullSecrets"], [{"name": "registry"}])
        self.assertEqual(template["annotations"]["a"], "b")
        self.assertEqual(template["labels"]["c"], "d")
