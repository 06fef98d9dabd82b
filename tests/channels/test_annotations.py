"""Which JSON belongs to which image, and JSON of other tools."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from sagemaker_ssd.channels.annotations import Annotation, Pairing, find_files, pair_images, parse_annotation


def paired(images: list[str], jsons: dict[str, str]) -> dict[str, str]:
    annotations = [Annotation(path, file, None, np.empty((0, 5))) for path, file in sorted(jsons.items())]
    pairing = pair_images(sorted(images), annotations)
    return {image: annotation.path for image, annotation in pairing.annotations.items()}


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("b/cat.jpg", "b/cat.jpg"),
        ("/b/cat.jpg", "b/cat.jpg"),
        ("./b/cat.jpg", "b/cat.jpg"),
        ("b\\cat.jpg", "b/cat.jpg"),
        ("", "a/dog.jpg"),  # the JSON's own name
        ("bucket/else/where.jpg", "a/dog.jpg"),
        ("s3://bucket/b/cat.jpg", "a/dog.jpg"),  # before the end of file
    ],
)
def test_the_image_of_a_json(file: str, image: str) -> None:
    assert paired(["a/dog.jpg", "b/cat.jpg"], {"a/dog.json": file}) == {image: "a/dog.json"}


def test_the_end_of_file_where_neither_fits() -> None:
    assert paired(["b/cat.jpg"], {"a/1.json": "prefix/cat.jpg"}) == {"b/cat.jpg": "a/1.json"}


def test_an_end_of_file_that_two_images_have_says_nothing() -> None:
    assert paired(["b/cat.jpg", "c/cat.jpg"], {"a/1.json": "prefix/cat.jpg"}) == {}


@pytest.mark.parametrize(
    ("images", "json", "file"),
    [
        # cam1/0000.jpg is in the other channel, or gone: not its boxes for cam2's image of that number.
        (["cam1/0004.jpg", "cam2/0000.jpg"], "cam1/0000.json", "cam1/0000.jpg"),
        (["cam1/0004.jpg", "cam2/0000.jpg"], "x.json", "cam1/0000.jpg"),
        (["cam1/0004.jpg", "cam2/0000.jpg"], "x.json", "s3://bucket/set/cam1/0000.jpg"),
        (["set/cam1/0004.jpg", "set/cam2/0000.jpg"], "x.json", "cam1/0000.jpg"),
        (["cam1/0004.jpg", "cam2/0000.jpg"], "cam1/x.json", "0000.jpg"),
        (["cam1/0004.jpg", "cam2/0000.jpg"], "cam1/x.json", "old/0000.jpg"),
    ],
)
def test_the_end_of_file_says_nothing_where_a_folder_says_otherwise(images: list[str], json: str, file: str) -> None:
    assert paired(images, {json: file}) == {}


def test_an_image_beside_jsons_of_its_own_folder_is_not_taken_by_another_folders() -> None:
    jsons = {"cam1/0000.json": "cam1/0000.jpg", "cam2/0007.json": "cam2/0007.jpg"}
    assert paired(["cam2/0000.jpg"], jsons) == {}


@pytest.mark.parametrize(
    ("image", "json", "file", "told"),
    [
        ("b/cat.jpg", "a/1.json", "prefix/cat.jpg", True),
        ("cat.jpg", "1.json", "/home/me/cat.jpg", True),
        ("b/cat.jpg", "1.json", "cat.jpg", True),
        ("cat.jpg", "batch0/1.json", "batch0/cat.jpg", True),
        # Here the folder is right too.
        ("b/cat.jpg", "1.json", "s3://bucket/b/cat.jpg", False),
        ("set/b/cat.jpg", "a/1.json", "b/cat.jpg", False),
        ("b/cat.jpg", "b/1.json", "cat.jpg", False),
    ],
)
def test_an_image_found_by_its_name_alone_is_told(image: str, json: str, file: str, told: bool) -> None:
    pairing = pair_images([image], [Annotation(json, file, None, np.empty((0, 5)))])
    assert list(pairing.annotations) == [image]
    assert pairing.by_name == ([(json, image)] if told else [])


def test_a_file_in_the_top_folder_says_nothing_of_those_in_folders() -> None:
    """Such as a picture of the set, or a JSON that was added later."""
    images = [f"images/{number}.jpg" for number in range(3)]
    jsons = {f"{number}.json": f"{number}.jpg" for number in range(3)}
    assert len(paired([*images, "preview.jpg"], jsons)) == 3
    flat = [f"{number}.jpg" for number in range(3)]
    jsons = {f"batch0/{number}.json": f"batch0/{number}.jpg" for number in range(3)}
    assert len(paired([*flat, "new.jpg"], {**jsons, "new.json": "new.jpg"})) == 4


def test_a_path_goes_before_a_name_alone() -> None:
    assert paired(["b/cat.jpg"], {"1.json": "prefix/cat.jpg", "2.json": "b/cat.jpg"}) == {"b/cat.jpg": "2.json"}


CUTS = {
    "every nth": lambda files, host, hosts: files[host::hosts],
    "contiguous": lambda files, host, hosts: files[host * len(files) // hosts : (host + 1) * len(files) // hosts],
    "whole": lambda files, host, hosts: files,
}


@pytest.mark.parametrize("hosts", [2, 3, 4])
@pytest.mark.parametrize("name", ["{camera}/{number}", "{camera}-{number}", "{number}_{camera}"])
@pytest.mark.parametrize("prefix", ["", "s3://bucket/set/"])
@pytest.mark.parametrize(
    ("cut_images", "cut_jsons"),
    [("every nth", "every nth"), ("contiguous", "contiguous"), ("contiguous", "whole"), ("whole", "every nth")],
)
def test_no_part_of_cameras_that_number_alike_gets_boxes_of_another_image(
    hosts: int, name: str, prefix: str, cut_images: str, cut_jsons: str
) -> None:
    """As ShardedByS3Key cuts the two channels, where one image has no JSON."""
    images = [f"{camera}/{number:04d}.jpg" for camera in ("cam1", "cam2", "cam3") for number in range(30)]
    jsons = {}
    for image in images:
        camera, number = image.removesuffix(".jpg").split("/")
        jsons[f"{name.format(camera=camera, number=number)}.json"] = image
    paths = sorted(path for path, image in jsons.items() if image != "cam1/0003.jpg")
    pairs = set()
    for host in range(hosts):
        own_images, own_jsons = CUTS[cut_images](images, host, hosts), CUTS[cut_jsons](paths, host, hosts)
        annotations = [Annotation(path, prefix + jsons[path], None, np.full((1, 5), 1.0)) for path in own_jsons]
        pairing = pair_images(own_images, annotations, is_part=True)
        pairs |= {(image, annotation.path) for image, annotation in pairing.annotations.items()}
        assert pairing.duplicates == []
        if not prefix:
            assert len(pairing.annotations) == sum(jsons[path] in own_images for path in own_jsons)
        assert len(pairing.jsons_without_image) == len(own_jsons) - len(pairing.annotations)
    assert {(image, path) for image, path in pairs if jsons[path] != image} == set()


@pytest.mark.parametrize(
    ("image", "json", "file", "found"),
    [
        ("cat.jpg", "1.json", "prefix/cat.jpg", True),
        ("b/cat.jpg", "1.json", "s3://bucket/b/cat.jpg", True),
        ("b/cat.jpg", "b/1.json", "cat.jpg", True),
        # On another host there may be c/cat.jpg, or a/b/cat.jpg.
        ("b/cat.jpg", "1.json", "cat.jpg", False),
        ("b/cat.jpg", "1.json", "prefix/cat.jpg", False),
        ("set/b/cat.jpg", "1.json", "b/cat.jpg", False),
    ],
)
def test_in_a_part_the_name_alone_says_nothing_of_an_image_in_a_folder(
    image: str, json: str, file: str, found: bool
) -> None:
    pairing = pair_images([image], [Annotation(json, file, None, np.empty((0, 5)))], is_part=True)
    assert list(pairing.annotations) == ([image] if found else [])
    assert pairing.jsons_without_image == ([] if found else [json])


def test_in_a_part_a_json_whose_image_is_taken_may_mean_one_that_is_elsewhere() -> None:
    annotations = [
        Annotation(path, file, None, np.empty((0, 5))) for path, file in (("1.json", ""), ("a.json", "b/1.jpg"))
    ]
    part = pair_images(["1.jpg"], annotations, is_part=True)
    assert (part.duplicates, part.jsons_without_image) == ([], ["a.json"])
    whole = pair_images(["1.jpg"], annotations)
    assert (whole.duplicates, whole.jsons_without_image) == ([("a.json", "1.jpg")], [])


def claimed(image: str, jsons: dict[str, str], *, boxes: dict[str, float] | None = None) -> Pairing:
    """Pair JSONs, path and `file`, whose one box has each another place unless `boxes` gives it."""
    places = boxes or {path: number for number, path in enumerate(jsons)}
    annotations = [
        Annotation(path, file, (80, 40), np.array([[0, 9, places[path], 5, 5], [0, 1, 1, 5, 5]]))
        for path, file in jsons.items()
    ]
    return pair_images([image], annotations)


@pytest.mark.parametrize(
    ("image", "jsons"),
    [
        ("1.jpg", {"train/1.json": "train/1.jpg", "val/1.json": "val/1.jpg"}),
        ("1.jpg", {"a.json": "1.jpg", "b.json": "1.jpg"}),
        ("b/1.jpg", {"x.json": "s3://bucket/b/1.jpg", "y.json": "/home/b/1.jpg"}),
        ("1.jpg", {"1.JSON": "", "1.json": ""}),
    ],
)
def test_two_jsons_that_mean_an_image_with_equal_right_contest_it(image: str, jsons: dict[str, str]) -> None:
    assert claimed(image, jsons).contested == [(image, list(jsons))]
    assert claimed(image, jsons).duplicates == []
    # Of the same boxes it does not matter whose they are.
    first, second = jsons
    same = claimed(image, jsons, boxes=dict.fromkeys(jsons, 3))
    assert (same.contested, same.duplicates) == ([], [(second, image)])
    assert same.annotations[image].path == first


@pytest.mark.parametrize(
    ("image", "jsons", "winner"),
    [
        ("1.jpg", {"0.json": "1.jpg", "1.json": ""}, "1.json"),
        ("1.jpg", {"0.json": "old/1.jpg", "2.json": "1.jpg"}, "2.json"),
        ("b/1.jpg", {"0.json": "old/1.jpg", "2.json": "s3://bucket/b/1.jpg"}, "2.json"),
    ],
)
def test_a_better_right_to_an_image_is_not_contested(image: str, jsons: dict[str, str], winner: str) -> None:
    pairing = claimed(image, jsons)
    assert pairing.annotations[image].path == winner
    assert (pairing.contested, pairing.duplicates) == ([], [("0.json", image)])


def test_boxes_in_another_order_are_the_same_and_for_another_size_are_not() -> None:
    boxes = np.array([[0, 1, 1, 5, 5], [1, 2, 2, 5, 5]])
    first = Annotation("a.json", "1.jpg", (80, 40), boxes)
    assert pair_images(["1.jpg"], [first, Annotation("b.json", "1.jpg", (80, 40), boxes[::-1])]).contested == []
    contested = pair_images(["1.jpg"], [first, Annotation("b.json", "1.jpg", (160, 80), boxes)]).contested
    assert contested == [("1.jpg", ["a.json", "b.json"])]


def test_a_file_copied_into_several_jsons_gives_no_image_to_the_first_of_them() -> None:
    """1.jpg, which all of them name, has no JSON of its own name."""
    annotations = [Annotation(f"{n}.json", "1.jpg", None, np.full((1, 5), float(n))) for n in (0, 2)]
    assert pair_images(["0.jpg", "1.jpg", "2.jpg"], annotations).contested == [("1.jpg", ["0.json", "2.json"])]


def test_file_tells_which_of_two_of_one_name() -> None:
    assert paired(["dog.jpg", "dog.png"], {"dog.json": "prefix/dog.png"}) == {"dog.png": "dog.json"}
    assert paired(["dog.jpg", "dog.png"], {"dog.json": ""}) == {"dog.jpg": "dog.json"}


def test_a_file_copied_into_every_json_gives_way_to_the_names() -> None:
    jsons = {f"{number}.json": "1.jpg" for number in range(3)}
    assert paired(["0.jpg", "1.jpg", "2.jpg"], jsons) == {f"{n}.jpg": f"{n}.json" for n in range(3)}


@pytest.mark.parametrize(
    ("images", "jsons", "passed_over"),
    [
        # The boxes are b's by `file`, and b.json has b.jpg.
        (["a.jpg", "b.jpg"], {"a.json": "b.jpg", "b.json": "b.jpg"}, [("a.json", "a.jpg", "b.jpg")]),
        (["a.jpg", "b.jpg"], {"a.json": "old\\b.jpg", "b.json": "b.jpg"}, [("a.json", "a.jpg", "b.jpg")]),
        (["a.jpg", "b.jpg"], {"a.json": "old/b.jpg"}, [("a.json", "a.jpg", "b.jpg")]),
        (["i/a.jpg", "i/b.jpg"], {"i/a.json": "b.jpg", "i/b.json": ""}, [("i/a.json", "i/a.jpg", "i/b.jpg")]),
        (["i/1.jpg", "j/1.jpg"], {"i/1.json": "j/1.jpg", "j/1.json": ""}, [("i/1.json", "i/1.jpg", "j/1.jpg")]),
        # A mere name is that of the image beside the JSON.
        (["1.jpg", "i/1.jpg"], {"1.json": "1.jpg", "i/1.json": "1.jpg"}, []),
        # The name that an image had before, or that of one that has another folder.
        (["a.jpg", "b.jpg"], {"a.json": "c.jpg", "b.json": "old/b.jpg"}, []),
        (["i/1.jpg", "j/2.jpg"], {"i/1.json": "i/2.jpg", "j/2.json": ""}, []),
        (["dog.jpg", "dog.png"], {"dog.json": "old/dog.png"}, []),
        (["0.jpg", "1.jpg"], {"0.json": "1.jpg", "1.json": "0.jpg"}, []),
    ],
)
def test_an_image_that_file_names_and_that_is_not_taken_is_told(
    images: list[str], jsons: dict[str, str], passed_over: list[tuple[str, str, str]]
) -> None:
    annotations = [Annotation(path, file, None, np.empty((0, 5))) for path, file in jsons.items()]
    assert pair_images(images, annotations).passed_over == passed_over


def test_file_counts_where_the_names_are_swapped() -> None:
    assert paired(["0.jpg", "1.jpg"], {"0.json": "1.jpg", "1.json": "0.jpg"}) == {"0.jpg": "1.json", "1.jpg": "0.json"}


@pytest.mark.parametrize(("on_disk", "in_json"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_taken_apart_are_the_same_letters(on_disk: str, in_json: str) -> None:
    """As macOS writes them into names of files."""
    image, other = (unicodedata.normalize(form, "a/caf\u00e9.jpg") for form in (on_disk, in_json))
    assert paired([image, "b.jpg"], {"1.json": other}) == {image: "1.json"}
    assert paired([image], {other.replace("jpg", "json"): ""}) == {image: other.replace("jpg", "json")}
    assert paired([image], {"1.json": f"elsewhere/{other}"}) == {image: "1.json"}


def test_what_is_left_over() -> None:
    annotations = [Annotation(path, "dog.jpg", None, np.empty((0, 5))) for path in ("a.json", "dog.json", "z.json")]
    pairing = pair_images(["cat.jpg", "dog.jpg"], [*annotations, Annotation("x.json", "y.jpg", None, np.empty((0, 5)))])
    assert pairing.annotations["dog.jpg"].path == "dog.json"
    assert pairing.images_without_json == ["cat.jpg"]
    assert pairing.jsons_without_image == ["x.json"]
    assert pairing.duplicates == [("a.json", "dog.jpg"), ("z.json", "dog.jpg")]


def test_find_files_follows_links_but_not_round_in_circles(tmp_path: Path) -> None:
    (tmp_path / "channel" / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for path in ("channel/sub/b.JPG", "channel/a.jpg", "channel/a.txt", "channel/.c.jpg", "elsewhere/d.jpg"):
        (tmp_path / path).touch()
    (tmp_path / "channel" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "channel" / "sub" / "loop").symlink_to(tmp_path / "channel")
    assert find_files(tmp_path / "channel", (".jpg",)) == ["a.jpg", "linked/d.jpg", "sub/b.JPG"]


def test_folders_of_the_system_are_passed_over(tmp_path: Path) -> None:
    """Those at the top of a disk may mostly not be listed."""
    for path in ("a.jpg", "lost+found/b.jpg", "$RECYCLE.BIN/c.jpg", "x/@eaDir/d.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert find_files(tmp_path, (".jpg",)) == ["a.jpg"]


LABELME = {
    "version": "5.2",
    "flags": {},
    "shapes": [{"label": "dog", "points": [[1, 2], [3, 4]]}],
    "imagePath": "a.jpg",
}
SUPERVISELY = {"description": "", "tags": [], "size": {"height": 50, "width": 100}, "objects": []}
LABEL_STUDIO = {"id": 1, "data": {"image": "a.jpg"}, "annotations": []}
MANIFEST = {"source-ref": "s3://b/a.jpg", "boxes": {"image_size": [], "annotations": []}}


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (LABELME, "labelme's JSON", "sagemaker_ssd.convert"),
        ({**LABELME, "annotations": []}, "labelme's JSON", "sagemaker_ssd.convert"),
        (SUPERVISELY, "Supervisely's JSON", "export it as COCO or Pascal VOC"),
        (LABEL_STUDIO, "Label Studio's JSON", "export it as COCO or Pascal VOC"),
        ([LABEL_STUDIO], "Label Studio's JSON", "export it as COCO or Pascal VOC"),
        (MANIFEST, "a line of a manifest", "AugmentedManifestFile"),
        ({"metadata": {"name": "a.jpg"}, "instances": [{"type": "bbox"}]}, "SuperAnnotate's JSON", "export it as COCO"),
        ({"name": "a.jpg", "labels": [{"box2d": {"x1": 1}}]}, "Scalabel's or BDD100K's JSON", "export it as COCO"),
        ([{"name": "a.jpg", "labels": []}], "Scalabel's or BDD100K's JSON", "export it as COCO"),
        ({"image_url": "x", "label": []}, "a line of an Azure Machine Learning data set", "export it as COCO"),
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}], "COCO's annotations", "as COCO"),
        ({"images": [], "annotations": [], "categories": []}, "a COCO file", "sagemaker_ssd.convert coco"),
        ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "VIA's JSON", "export it as COCO"),
        ([{"image": "a.jpg", "annotations": []}], "CreateML's JSON", "export it as COCO or Pascal VOC"),
    ],
)
def test_json_of_other_tools_is_called_by_its_name(content, what, remedy):
    _, (fault,) = parse_annotation(json.dumps(content).encode(), "a.json", num_classes=1)
    assert what in fault
    assert remedy in fault
    # Whoever wrote that would lose all objects.
    assert '"annotations": []' not in fault


def test_lines_of_a_manifest_in_one_file():
    line = json.dumps(MANIFEST).encode()
    _, (fault,) = parse_annotation(line + b"\n" + line, "a.json", num_classes=1)
    assert fault.startswith("is a line of a manifest")


@pytest.mark.parametrize(
    "more",
    [{"data": {}}, {"image": "a.jpg"}, {"images": 1, "categories": []}, {"objects": [], "size": {}}, {"item": 1}],
)
def test_json_with_keys_of_its_own_stays_readable(more):
    box = {"class_id": 0, "left": 1, "top": 2, "width": 3, "height": 4}
    annotation, faults = parse_annotation(json.dumps({"annotations": [box], **more}).encode(), "a.json", num_classes=1)
    assert faults == []
    assert annotation.boxes.tolist() == [[0, 1, 2, 3, 4]]


def test_an_image_without_objects_that_names_its_image_stays_readable():
    annotation, faults = parse_annotation(b'{"image": "a.jpg", "annotations": []}', "a.json", num_classes=1)
    assert (faults, len(annotation.boxes)) == ([], 0)


@pytest.mark.parametrize(
    "categories",
    [7, None, "x", [7], [{}], [{"class_id": "x", "name": "dog"}], [{"class_id": float("inf"), "name": "dog"}],
     [{"class_id": 0, "name": " "}], {"class_id": 0}, [{"class_id": 1, "name": None}],
     [{"class_id": 1, "name": ["dog"]}], [{"class_id": 1.5, "name": "dog"}], [{"class_id": True, "name": "dog"}]],
)  # fmt: skip
def test_categories_that_are_none_name_nothing(categories: object) -> None:
    text = json.dumps({"annotations": [], "categories": categories}).encode()
    annotation, faults = parse_annotation(text, "a.json", num_classes=3)
    assert (annotation.names, faults) == ((), [])


def test_names_that_stand_in_every_json_are_held_once() -> None:
    categories = [{"class_id": number, "name": f"class {number}"} for number in range(50)]
    text = json.dumps({"annotations": [], "categories": categories}).encode()
    one, other = (parse_annotation(text, path, num_classes=50)[0].names for path in ("a.json", "b.json"))
    assert len(one) == 50
    assert one is other


def test_a_name_that_is_nested_deeply_is_none() -> None:
    text = b'{"annotations": [], "categories": [{"class_id": 0, "name": ' + b"[" * 900 + b"]" * 900 + b"}]}"
    _, faults = parse_annotation(text, "a.json", num_classes=3)
    assert faults == []
