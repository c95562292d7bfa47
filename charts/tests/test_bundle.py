"""A bundle that is not part of the worker's image."""

from chart import ChartTest

INSIDE = "config: {model: {bundle: /bundle/fashion-bag}}"


class Bundle(ChartTest):
    def test_the_bundle_of_the_image_needs_no_source(self) -> None:
        self.assertNotIn("initContainers", self.pod())
        self.assertNotIn("bundle", [v["name"] for v in self.pod()["volumes"]])

    def test_a_bundle_from_a_volume(self) -> None:
        values = f"{{bundle: {{volume: {{persistentVolumeClaim: {{claimName: bundles}}}}}}, {INSIDE}}}"
        self.assertIn({"name": "bundle", "persistentVolumeClaim": {"claimName": "bundles"}}, self.pod(values)["volumes"])
        self.assertIn({"name": "bundle", "mountPath": "/bundle", "readOnly": True}, self.worker(values)["volumeMounts"])
        self.assertNotIn("initContainers", self.pod(values))

    def test_a_bundle_from_an_image(self) -> None:
        values = f"{{bundle: {{image: {{reference: b:1, path: /models/}}, sizeLimit: 1Gi}}, {INSIDE}}}"
        (copies,) = self.pod(values)["initContainers"]
        self.assertEqual((copies["image"], copies["command"]), ("b:1", ["cp", "-R", "/models/.", "/bundle"]))
        self.assertIn({"name": "bundle", "mountPath": "/bundle"}, copies["volumeMounts"])
        self.assertIn({"name": "bundle", "emptyDir": {"sizeLimit": "1Gi"}}, self.pod(values)["volumes"])
        self.assertIn({"name": "bundle", "mountPath": "/bundle", "readOnly": True}, self.worker(values)["volumeMounts"])

    def test_a_bundle_from_an_object_store(self) -> None:
        download = "{image: rclone, args: [copy, 's3:b', /bundle/b], env: [{name: A, value: b}], envFrom: [{secretRef: {name: s}}]}"
        (fetches,) = self.pod(f"{{bundle: {{download: {download}}}, {INSIDE}}}")["initContainers"]
        self.assertEqual((fetches["image"], fetches["args"]), ("rclone", ["copy", "s3:b", "/bundle/b"]))
        self.assertEqual((fetches["env"], fetches["envFrom"]), ([{"name": "A", "value": "b"}], [{"secretRef": {"name": "s"}}]))
        self.assertNotIn("command", fetches)

    def test_configured_init_containers_come_after_it(self) -> None:
        values = f"{{bundle: {{image: {{reference: b}}}}, extraInitContainers: [{{name: mine, image: m}}], {INSIDE}}}"
        self.assertEqual([c["name"] for c in self.pod(values)["initContainers"]], ["bundle", "mine"])

    def test_a_bundle_outside_its_mount_path_is_refused(self) -> None:
        self.refused("bundle: {image: {reference: b}}", "config.model.bundle", "/models/fashion-bag", "/bundle")
        self.refused("{bundle: {image: {reference: b}}, config: {model: {bundle: /bundles/b}}}", "config.model.bundle")
        self.refused("{bundle: {image: {reference: b}, download: {image: d}}}", "bundle.image.reference and bundle.download.image")

    def test_configured_volumes(self) -> None:
        values = "{extraVolumes: [{name: images, emptyDir: {}}], extraVolumeMounts: [{name: images, mountPath: /images}]}"
        self.assertIn({"name": "images", "emptyDir": {}}, self.pod(values)["volumes"])
        self.assertIn({"name": "images", "mountPath": "/images"}, self.worker(values)["volumeMounts"])
