"""Scraping, alerts and the dashboard."""

import json

import yaml
from chart import CHART, ChartTest


class Monitoring(ChartTest):
    def test_it_is_off_by_default(self) -> None:
        for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"):
            self.none(kind)

    def test_a_monitor_selects_the_workers(self) -> None:
        service = self.one("Service")
        (endpoint,) = self.one("ServiceMonitor", "serviceMonitor: {enabled: true}")["spec"]["endpoints"]
        self.assertIn(endpoint["port"], [p["name"] for p in service["spec"]["ports"]])
        self.assertEqual(endpoint["path"], "/metrics")
        selector = self.one("ServiceMonitor", "serviceMonitor: {enabled: true}")["spec"]["selector"]["matchLabels"]
        self.assertLessEqual(selector.items(), service["metadata"]["labels"].items())
        pods = self.one("PodMonitor", "podMonitor: {enabled: true}")["spec"]
        self.assertEqual(pods["selector"], self.one("Deployment")["spec"]["selector"])
        self.assertEqual(pods["podMetricsEndpoints"][0]["port"], self.worker()["ports"][0]["name"])

    def test_a_release_is_a_job(self) -> None:
        for kind, values, label in [
            ("ServiceMonitor", "serviceMonitor: {enabled: true}", self.one("Service")["metadata"]["labels"]),
            ("PodMonitor", "podMonitor: {enabled: true}", self.one("Deployment")["spec"]["template"]["metadata"]["labels"]),
        ]:
            self.assertEqual(label[self.one(kind, values)["spec"]["jobLabel"]], "test")

    def test_labels_and_intervals_are_passed_on(self) -> None:
        monitor = self.one("ServiceMonitor", "serviceMonitor: {enabled: true, interval: 5s, labels: {release: prometheus}}")
        self.assertEqual(monitor["spec"]["endpoints"][0]["interval"], "5s")
        self.assertEqual(monitor["metadata"]["labels"]["release"], "prometheus")
        self.refused("serviceMonitor: {interval: often}", "/serviceMonitor/interval")

    def test_no_worker_is_scraped_twice(self) -> None:
        both = "{serviceMonitor: {enabled: true}, podMonitor: {enabled: true}}"
        self.refused(both, "serviceMonitor.enabled", "podMonitor.enabled", "twice")

    def test_unready_workers_are_scraped_too(self) -> None:
        service = self.one("Service")["spec"]
        self.assertEqual(service["clusterIP"], "None")
        self.assertIs(service["publishNotReadyAddresses"], True)

    def test_the_alerts_equal_the_file(self) -> None:
        rule = self.one("PrometheusRule", "prometheusRule: {enabled: true, labels: {role: alerts}}")
        self.assertEqual(rule["spec"], yaml.safe_load((CHART / "files" / "alerts.yaml").read_text()))
        self.assertTrue(rule["spec"]["groups"])
        self.assertEqual(rule["metadata"]["labels"]["role"], "alerts")

    def test_alerts_link_to_the_operations_guide(self) -> None:
        values = "prometheusRule: {enabled: true, runbooks: 'https://wiki.example/operations'}"
        rules = [rule for group in self.one("PrometheusRule", values)["spec"]["groups"] for rule in group["rules"]]
        links = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}
        self.assertEqual(links["DorfmanBurst"], "https://wiki.example/operations#dorfmanburst")
        self.assertTrue(all(link.startswith("https://wiki.example/operations#") for link in links.values()))

    def test_no_alert_for_missing_workers_if_there_may_be_none(self) -> None:
        def alerts(least: int) -> set[str]:
            keda = f"{{topicPartitions: 8, keda: {{enabled: true, minReplicas: {least}}}, prometheusRule: {{enabled: true}}}}"
            groups = self.one("PrometheusRule", keda)["spec"]["groups"]
            return {rule.get("alert", "") for group in groups for rule in group["rules"]}

        self.assertEqual(alerts(1) - alerts(0), {"DorfmanAbsent", "DorfmanUnseen"})

    def test_the_dashboard_equals_the_file(self) -> None:
        values = "dashboard: {enabled: true, annotations: {grafana_folder: Kafka}}"
        board = self.one("ConfigMap", values, "test-dorfman-dashboard")
        self.assertEqual(json.loads(board["data"]["dorfman.json"]), json.loads((CHART / "files" / "dashboard.json").read_text()))
        self.assertEqual(board["metadata"]["labels"]["grafana_dashboard"], "1")
        self.assertEqual(board["metadata"]["annotations"], {"grafana_folder": "Kafka"})
