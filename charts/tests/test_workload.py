"""Deployment and StatefulSet: the number of workers, and how they start, stop and are replaced."""

from typing import Any

from chart import ChartTest, kinds, template


class Workload(ChartTest):
    def test_a_deployment_replaces_pods_without_a_surge(self) -> None:
        spec = self.one("Deployment")["spec"]
        self.assertEqual(spec["strategy"], {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
        self.none("StatefulSet")

    def test_a_configured_strategy(self) -> None:
        self.assertEqual(self.one("Deployment", "strategy: {type: Recreate}")["spec"]["strategy"], {"type": "Recreate"})
        own = self.one("StatefulSet", "{kind: StatefulSet, strategy: {type: OnDelete}}")["spec"]["updateStrategy"]
        self.assertEqual(own, {"type": "OnDelete"})
        self.refused("strategy: {type: OnDelete}", "strategy.type", "RollingUpdate or Recreate")
        self.refused("{kind: StatefulSet, strategy: {type: Recreate}}", "strategy.type", "RollingUpdate or OnDelete")

    def test_static_members_have_the_name_of_their_pod(self) -> None:
        values = "kind: StatefulSet"
        self.none("Deployment", values)
        spec = self.one("StatefulSet", values)["spec"]
        self.assertEqual(spec["serviceName"], self.one("Service", values)["metadata"]["name"])
        self.assertEqual(spec["podManagementPolicy"], "Parallel")
        env = {e["name"]: e for e in self.worker(values)["env"]}
        name = env["DORFMAN_SOURCE__PROPERTIES__GROUP_INSTANCE_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
        self.assertEqual(name, "metadata.name")
        self.assertEqual(self.config(values)["source"]["properties"], {"session.timeout.ms": 120000})

    def test_a_configured_session_timeout_stays(self) -> None:
        own = "{kind: StatefulSet, config: {kafka: {properties: {session.timeout.ms: 60000}}}}"
        self.assertNotIn("properties", self.config(own)["source"])
        # With this protocol the broker sets the session timeout. The client refuses the property.
        new = "{kind: StatefulSet, config: {source: {properties: {group.protocol: consumer}}}}"
        self.assertEqual(self.config(new)["source"]["properties"], {"group.protocol": "consumer"})

    def test_pods_of_a_deployment_are_not_static_members(self) -> None:
        self.assertNotIn("env", self.worker())
        self.assertNotIn("properties", self.config()["source"])
        self.refused("config: {source: {properties: {group.instance.id: one}}}", "group.instance.id", "kind StatefulSet")

    def test_no_more_workers_than_partitions(self) -> None:
        self.assertEqual(self.one("Deployment", "{replicaCount: 8, topicPartitions: 8}")["spec"]["replicas"], 8)
        self.refused("{replicaCount: 9, topicPartitions: 8}", "replicaCount is 9", "8 partitions")

    def test_the_grace_period_follows_from_the_deadline(self) -> None:
        for deadline, seconds in [("25s", 55), ("1m 30s", 185), ("1500ms", 9), ("2min", 245)]:
            with self.subTest(deadline):
                values = f"config: {{shutdown: {{deadline: {deadline}}}}}"
                self.assertEqual(self.pod(values)["terminationGracePeriodSeconds"], seconds)
        self.assertEqual(self.pod("terminationGracePeriodSeconds: 51")["terminationGracePeriodSeconds"], 51)
        self.refused("terminationGracePeriodSeconds: 50", "terminationGracePeriodSeconds is 50", "config.shutdown.deadline", "it will be 55")
        self.refused("config: {shutdown: {deadline: soon}}", "config.shutdown.deadline", "25s or 1m 30s")
        self.refused("config: {shutdown: {deadline: 1 fortnight}}", "config.shutdown.deadline", "fortnight")

    def test_a_slow_start_does_not_restart_the_worker(self) -> None:
        def seconds(values: str) -> Any:
            probe = self.worker(values)["startupProbe"]
            return probe["periodSeconds"] * probe["failureThreshold"]

        self.assertEqual(seconds(""), 300)
        self.assertEqual(seconds("{gpu: {count: 1}, config: {model: {provider: cuda}}}"), 300)
        tensorrt = "{gpu: {count: 1}, config: {model: {provider: tensorrt}}}"
        self.assertEqual(seconds(tensorrt), 1800)
        self.assertEqual(seconds("probes: {startup: {seconds: 61, periodSeconds: 10}}"), 70)
        # A rollout must not count as failed while a pod may still be starting.
        self.assertGreater(self.one("Deployment", tensorrt)["spec"]["progressDeadlineSeconds"], 1800)

    def test_probes_use_the_port_of_the_worker(self) -> None:
        container = self.worker("config: {ops: {listen: '[::]:8080'}}")
        self.assertEqual(container["ports"], [{"name": "http", "containerPort": 8080}])
        for probe, path in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]:
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "http"})
        self.refused("config: {ops: {listen: '127.0.0.1:9464'}}", "config.ops.listen", "0.0.0.0")
        self.refused("config: {ops: {listen: '0.0.0.0'}}", "config.ops.listen", "0.0.0.0:9464")

    def test_a_change_of_the_configuration_replaces_the_pods_and_a_new_chart_does_not(self) -> None:
        def pod(values: str) -> Any:
            return self.one("Deployment", values)["spec"]["template"]

        self.assertNotEqual(pod("")["metadata"], pod("config: {group: {size: 8}}")["metadata"])
        self.assertEqual(pod(""), pod("serviceMonitor: {enabled: true}"))
        self.assertNotIn("helm.sh/chart", pod("")["metadata"]["labels"])

    def test_the_budget(self) -> None:
        spec = self.one("PodDisruptionBudget")["spec"]
        self.assertEqual(spec["maxUnavailable"], 1)
        self.assertEqual(spec["selector"], self.one("Deployment")["spec"]["selector"])
        least = self.one("PodDisruptionBudget", "podDisruptionBudget: {minAvailable: 0}")["spec"]
        self.assertEqual((least["minAvailable"], "maxUnavailable" in least), (0, False))
        self.none("PodDisruptionBudget", "podDisruptionBudget: {enabled: false}")
        self.refused("podDisruptionBudget: {maxUnavailable: 150%}", "/podDisruptionBudget/maxUnavailable")

    def test_names(self) -> None:
        self.assertEqual({o["metadata"]["name"] for o in self.render("fullnameOverride: moderation")}, {"moderation", "moderation-test"})
        long = "x" * 63
        for o in self.render(f"{{fullnameOverride: {long}, dashboard: {{enabled: true}}}}"):
            self.assertLessEqual(len(o["metadata"]["name"]), 63, o["kind"])

    def test_labels_of_every_object(self) -> None:
        for o in self.render("{commonLabels: {team: moderation}, serviceMonitor: {enabled: true}, dashboard: {enabled: true}}"):
            self.assertEqual(o["metadata"]["labels"]["team"], "moderation", o["kind"])
        # Labels must not be in selectors, which cannot be changed after creation.
        self.assertNotIn("team", str(self.one("Deployment", "commonLabels: {team: moderation}")["spec"]["selector"]))

    def test_an_image_by_tag_and_by_digest(self) -> None:
        self.assertEqual(self.worker("image: {repository: r/d, tag: '1'}")["image"], "r/d:1")
        digest = "sha256:" + "0" * 64
        self.assertEqual(self.worker(f"image: {{repository: r/d, tag: x, digest: '{digest}'}}")["image"], f"r/d@{digest}")
        self.refused("image: {digest: latest}", "/image/digest")

    def test_an_old_cluster_is_refused(self) -> None:
        code, _, err = template("", "1.26.0")
        self.assertNotEqual(code, 0)
        self.assertIn("1.27.0", err)

    def test_the_chart_has_no_other_autoscaler(self) -> None:
        everything = "{topicPartitions: 8, keda: {enabled: true}}"
        self.assertNotIn("HorizontalPodAutoscaler", kinds(self.render(everything)))
