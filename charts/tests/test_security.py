"""The privileges of pods, secrets, and the network policy."""

from typing import Any

from chart import ChartTest

SASL = "config: {kafka: {properties: {security.protocol: sasl_ssl, sasl.mechanism: PLAIN}}}"
BUNDLE = "{bundle: {image: {reference: b}}, config: {model: {bundle: /bundle/b}}}"


class Pods(ChartTest):
    def pods(self, values: str) -> list[Any]:
        return [self.pod(values), self.one("Pod", values)["spec"]]

    def test_every_container_meets_the_restricted_standard(self) -> None:
        for pod in self.pods(BUNDLE):
            self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
            self.assertGreater(pod["securityContext"]["runAsUser"], 0)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            containers = pod["containers"] + pod["initContainers"]
            self.assertEqual(len(containers), 2)
            for container in containers:
                context = container["securityContext"]
                self.assertIs(context["allowPrivilegeEscalation"], False)
                self.assertIs(context["readOnlyRootFilesystem"], True)
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})

    def test_no_token_for_the_api_server(self) -> None:
        for pod in self.pods(""):
            self.assertIs(pod["automountServiceAccountToken"], False)
        self.assertIs(self.one("ServiceAccount")["automountServiceAccountToken"], False)

    def test_a_user_chosen_by_the_cluster(self) -> None:
        pod = self.pod("podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}")
        self.assertNotIn("runAsUser", pod["securityContext"])
        self.assertIs(pod["securityContext"]["runAsNonRoot"], True)

    def test_accounts(self) -> None:
        self.assertEqual(self.pod()["serviceAccountName"], self.one("ServiceAccount")["metadata"]["name"])
        self.none("ServiceAccount", "serviceAccount: {create: false}")
        self.assertEqual(self.pod("serviceAccount: {create: false}")["serviceAccountName"], "default")
        self.assertEqual(self.pod("serviceAccount: {create: false, name: mine}")["serviceAccountName"], "mine")

    def test_the_pod_of_the_test_is_not_a_worker(self) -> None:
        labels = self.one("Pod")["metadata"]["labels"].items()
        self.assertFalse(self.one("Deployment")["spec"]["selector"]["matchLabels"].items() <= labels, "the Deployment would adopt it")
        self.none("Pod", "tests: {enabled: false}")


class Secrets(ChartTest):
    def test_passwords_are_references_to_secrets(self) -> None:
        values = "{credentials: {sasl: {secret: kafka, usernameKey: user}}, " + SASL + "}"
        env = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in self.worker(values)["env"]}
        self.assertEqual(env["DORFMAN_KAFKA__PROPERTIES__SASL_USERNAME"], {"name": "kafka", "key": "user"})
        self.assertEqual(env["DORFMAN_KAFKA__PROPERTIES__SASL_PASSWORD"], {"name": "kafka", "key": "password"})

    def test_certificates_are_references_to_secrets(self) -> None:
        values = "credentials: {tls: {secret: certificates, certKey: tls.crt, keyKey: tls.key}}"
        volume = next(v for v in self.pod(values)["volumes"] if v["name"] == "tls")
        self.assertEqual(volume["secret"], {"secretName": "certificates"})
        mount = next(m for m in self.worker(values)["volumeMounts"] if m["name"] == "tls")
        self.assertEqual(
            self.config(values)["kafka"]["properties"],
            {
                "ssl.ca.location": f"{mount['mountPath']}/ca.crt",
                "ssl.certificate.location": f"{mount['mountPath']}/tls.crt",
                "ssl.key.location": f"{mount['mountPath']}/tls.key",
            },
        )
        self.refused("credentials: {tls: {secret: c, certKey: tls.crt}}", "credentials.tls", "certKey and keyKey")

    def test_a_password_in_the_configuration_is_refused(self) -> None:
        for section in ("kafka", "source", "sink"):
            for key in ("sasl.password", "ssl.key.password"):
                self.refused(f"config: {{{section}: {{properties: {{{key}: secret}}}}}}", f"config.{section}.properties.{key}", "ConfigMap")

    def test_unused_credentials_are_refused(self) -> None:
        self.refused("credentials: {sasl: {secret: kafka}}", "credentials.sasl.secret", "sasl_ssl")

    def test_more_environment(self) -> None:
        container = self.worker("{extraEnv: [{name: A, value: b}], extraEnvFrom: [{secretRef: {name: s}}]}")
        self.assertEqual(container["env"], [{"name": "A", "value": "b"}])
        self.assertEqual(container["envFrom"], [{"secretRef": {"name": "s"}}])
        self.refused("extraEnv: [{value: b}]", "/extraEnv/0", "name")


class Network(ChartTest):
    def spec(self, values: str = "") -> Any:
        return self.one("NetworkPolicy", f"networkPolicy: {values}" if values else "")["spec"]

    def test_ingress_only_to_the_port_of_health_and_metrics(self) -> None:
        spec = self.spec()
        self.assertEqual(spec["podSelector"], self.one("Deployment")["spec"]["selector"])
        self.assertEqual(spec["policyTypes"], ["Ingress"])
        self.assertEqual(spec["ingress"], [{"ports": [{"port": "http", "protocol": "TCP"}]}])
        self.none("NetworkPolicy", "networkPolicy: {enabled: false}")

    def test_ingress_from_configured_pods_and_from_the_test(self) -> None:
        peers = self.spec("{from: [{podSelector: {matchLabels: {app: prometheus}}}]}")["ingress"][0]["from"]
        self.assertEqual(peers[0], {"podSelector": {"matchLabels": {"app": "prometheus"}}})
        self.assertLessEqual(peers[1]["podSelector"]["matchLabels"].items(), self.one("Pod")["metadata"]["labels"].items())

    def test_egress_to_dns_brokers_and_image_servers_is_allowed(self) -> None:
        values = """
            networkPolicy: {egress: {enabled: true, kafkaTo: [{podSelector: {}}], extra: [{ports: [{port: 9000}]}]}}
            config: {kafka: {brokers: "a:9093, b:9094,c:9093,d"}}
        """
        spec = self.one("NetworkPolicy", values)["spec"]
        self.assertEqual(spec["policyTypes"], ["Ingress", "Egress"])
        dns, kafka, http, extra = spec["egress"]
        self.assertEqual({p["protocol"] for p in dns["ports"]}, {"UDP", "TCP"})
        self.assertEqual([p["port"] for p in kafka["ports"]], [9093, 9094, 9092])
        self.assertEqual(kafka["to"], [{"podSelector": {}}])
        self.assertEqual([p["port"] for p in http["ports"]], [80, 443])
        self.assertIn("169.254.0.0/16", http["to"][0]["ipBlock"]["except"])
        self.assertEqual(extra, {"ports": [{"port": 9000}]})

    def test_egress_follows_the_fetch_configuration(self) -> None:
        values = "{networkPolicy: {egress: {enabled: true}}, config: {fetch: {allow_private: true}}}"
        self.assertNotIn("to", self.one("NetworkPolicy", values)["spec"]["egress"][2])
        self.assertEqual(len(self.spec("{egress: {enabled: true, httpPorts: []}}")["egress"]), 2)
