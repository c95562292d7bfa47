"""Values that Helm refuses by values.schema.json, and values that it passes to the worker."""

from chart import ChartTest


class Values(ChartTest):
    def test_an_unknown_value_is_named(self) -> None:
        self.refused("replicas: 2", "'replicas' not allowed")
        self.refused("gpu: {number: 1}", "/gpu", "'number' not allowed")

    def test_a_key_unknown_to_the_worker_is_named(self) -> None:
        self.refused("config: {group: {sise: 8}}", "/config/group", "'sise' not allowed")
        self.refused("config: {grouping: {size: 8}}", "/config", "'grouping' not allowed")

    def test_a_value_that_the_worker_refuses_is_named_with_the_remedy(self) -> None:
        self.refused("config: {group: {size: 65}}", "/config/group/size", "want 64")
        self.refused("config: {model: {provider: opencl}}", "/config/model/provider", "'tensorrt'")
        self.refused("config: {kafka: {brokers: [a, b]}}", "/config/kafka/brokers", "want string")

    def test_wrong_types_are_refused(self) -> None:
        self.refused("replicaCount: many", "/replicaCount")
        self.refused("kind: DaemonSet", "/kind", "'Deployment', 'StatefulSet'")
        self.refused("probes: {startup: {seconds: 5m}}", "/probes/startup/seconds")

    def test_as_a_part_of_another_chart(self) -> None:
        self.render("global: {imageRegistry: r}")

    def test_values_that_the_worker_accepts_are_accepted(self) -> None:
        properties = "properties: {fetch.min.bytes: 1, client.rack: a}"
        config = self.config(f"config: {{group: {{size: auto}}, source: {{{properties}}}, audit: {{fraction: 0.01}}}}")
        self.assertEqual(config["group"]["size"], "auto")
        self.assertEqual(config["audit"]["fraction"], 0.01)

    def test_large_numbers_remain_numbers(self) -> None:
        self.assertEqual(self.config("config: {decode: {max_pixels: 400000000}}")["decode"]["max_pixels"], 400000000)
        text = self.one("ConfigMap", "config: {decode: {max_pixels: 400000000}}", "test-dorfman")["data"]["dorfman.yaml"]
        self.assertIn("max_pixels: 400000000\n", text)
