"""Scaling with KEDA on the lag of the consumer group."""

from typing import Any

from chart import ChartTest

SECURE = """
topicPartitions: 12
keda: {enabled: true}
credentials: {sasl: {secret: kafka, usernameKey: user}, tls: {secret: certificates, certKey: tls.crt, keyKey: tls.key}}
config: {kafka: {brokers: "a:9093,b:9093", properties: {security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512}}}
"""


class Keda(ChartTest):
    def scaled(self, keda: str = "", more: str = "") -> Any:
        return self.one("ScaledObject", f"{{topicPartitions: 12, keda: {{enabled: true, {keda}}}, {more}}}")["spec"]

    def test_it_scales_the_workload_of_the_release(self) -> None:
        for kind in ("Deployment", "StatefulSet"):
            target = self.scaled(more=f"kind: {kind}")["scaleTargetRef"]
            self.assertEqual(target, {"apiVersion": "apps/v1", "kind": kind, "name": "test-dorfman"})

    def test_keda_sets_the_number_of_workers(self) -> None:
        values = "{topicPartitions: 12, keda: {enabled: true}}"
        self.assertNotIn("replicas", self.one("Deployment", values)["spec"])
        self.assertNotIn("replicas", self.one("StatefulSet", values[:-1] + ", kind: StatefulSet}")["spec"])

    def test_keda_starts_at_most_one_worker_per_partition(self) -> None:
        spec = self.scaled()
        self.assertEqual((spec["minReplicaCount"], spec["maxReplicaCount"]), (1, 12))
        self.assertEqual(spec["triggers"][0]["metadata"]["allowIdleConsumers"], "false")
        self.assertEqual(self.scaled("maxReplicas: 6")["maxReplicaCount"], 6)
        self.refused("keda: {enabled: true}", "topicPartitions", "config.source.topic")
        self.refused("{topicPartitions: 12, keda: {enabled: true, maxReplicas: 13}}", "keda.maxReplicas is 13", "12 partitions")
        self.refused("{topicPartitions: 12, keda: {enabled: true, minReplicas: 7, maxReplicas: 6}}", "keda.minReplicas is 7")

    def test_the_lag_is_that_of_the_consumer_group(self) -> None:
        (trigger,) = self.scaled("lagThreshold: 2000000", "config: {kafka: {group_id: g}, source: {topic: t}}")["triggers"]
        self.assertEqual(trigger["type"], "kafka")
        metadata = trigger["metadata"]
        self.assertEqual((metadata["bootstrapServers"], metadata["consumerGroup"], metadata["topic"]), ("kafka:9092", "g", "t"))
        self.assertEqual(metadata["lagThreshold"], "2000000")
        self.assertEqual(metadata["offsetResetPolicy"], "earliest")
        self.assertEqual(metadata["version"], "2.5.0")
        # KEDA accepts only strings.
        self.assertTrue(all(isinstance(v, str) for v in metadata.values()), metadata)
        late = self.scaled(more="config: {source: {properties: {auto.offset.reset: latest}}}")
        self.assertEqual(late["triggers"][0]["metadata"]["offsetResetPolicy"], "latest")

    def test_each_topic_has_its_lag(self) -> None:
        triggers = self.scaled(more="config: {source: {topic: [images, uploads]}}")["triggers"]
        self.assertEqual([t["metadata"]["topic"] for t in triggers], ["images", "uploads"])

    def test_it_reads_with_the_credentials_of_the_worker(self) -> None:
        (trigger,) = self.one("ScaledObject", SECURE)["spec"]["triggers"]
        self.assertEqual((trigger["metadata"]["sasl"], trigger["metadata"]["tls"]), ("scram_sha512", "enable"))
        authentication = self.one("TriggerAuthentication", SECURE)
        self.assertEqual(trigger["authenticationRef"], {"name": authentication["metadata"]["name"]})
        given = {(s["parameter"], s["name"], s["key"]) for s in authentication["spec"]["secretTargetRef"]}
        kafka = {("username", "kafka", "user"), ("password", "kafka", "password")}
        tls = {("ca", "certificates", "ca.crt"), ("cert", "certificates", "tls.crt"), ("key", "certificates", "tls.key")}
        self.assertEqual(given, kafka | tls)

    def test_a_configured_authentication(self) -> None:
        values = SECURE.replace("{enabled: true}", "{enabled: true, authentication: mine}")
        self.assertEqual(self.one("ScaledObject", values)["spec"]["triggers"][0]["authenticationRef"], {"name": "mine"})
        self.none("TriggerAuthentication", values)

    def test_a_broker_without_authentication_needs_no_credentials(self) -> None:
        (trigger,) = self.scaled()["triggers"]
        self.assertNotIn("authenticationRef", trigger)
        self.assertNotIn("sasl", trigger["metadata"])

    def test_a_mechanism_that_keda_does_not_support_is_refused(self) -> None:
        self.refused(SECURE.replace("SCRAM-SHA-512", "SRP"), "sasl.mechanism SRP", "SCRAM-SHA-256")

    def test_a_fallback(self) -> None:
        self.assertNotIn("fallback", self.scaled())
        self.assertEqual(self.scaled("fallback: {failureThreshold: 3, replicas: 6}")["fallback"], {"failureThreshold": 3, "replicas": 6})
        self.refused("keda: {fallback: {replicas: 6}}", "/keda/fallback", "failureThreshold")
