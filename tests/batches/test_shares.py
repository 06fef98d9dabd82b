"""Every image once in an epoch, every host in every step."""

import numpy as np
import pytest

from sagemaker_ssd.batches.shares import epoch_order, replicated_shares, sharded_shares


def test_one_host_has_everything_in_full_batches_and_a_rest():
    shares = replicated_shares(10, hosts=1, host=0, batch_size=4)
    assert shares.sizes.tolist() == [[4], [4], [2]]
    assert (shares.steps, shares.images, shares.updates, shares.totals) == (3, 10, 3, [4, 4, 2])
    assert shares.order(seed=7, epoch=2).tolist() == epoch_order(10, seed=7, epoch=2).tolist()


def test_two_hosts_take_turns_in_the_epochs_order():
    order = epoch_order(13, seed=1, epoch=0)
    first, second = (replicated_shares(13, hosts=2, host=host, batch_size=3) for host in (0, 1))
    # Two steps of 3 + 3, and one image for the last step.
    assert first.sizes.tolist() == [[3, 3], [3, 3], [1, 0]]
    assert first.order(seed=1, epoch=0).tolist() == [*order[0:3], *order[6:9], order[12]]
    assert second.order(seed=1, epoch=0).tolist() == [*order[3:6], *order[9:12]]
    assert (first.totals, first.updates, second.images) == ([6, 6, 1], 5, 6)


def test_the_rest_is_spread_evenly():
    assert replicated_shares(17, hosts=3, host=0, batch_size=4).sizes.tolist() == [[4, 4, 4], [2, 2, 1]]
    assert replicated_shares(2, hosts=3, host=0, batch_size=1).sizes.tolist() == [[1, 1, 0]]


@pytest.mark.parametrize("images", [1, 2, 5, 12, 13, 31])
@pytest.mark.parametrize("hosts", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_parts_are_disjoint_and_complete(images: int, hosts: int, batch_size: int):
    shares = [replicated_shares(images, hosts=hosts, host=host, batch_size=batch_size) for host in range(hosts)]
    seen = np.concatenate([share.order(seed=3, epoch=1) for share in shares])
    assert sorted(seen.tolist()) == list(range(images))
    assert len({share.sizes.tobytes() for share in shares}) == 1
    for share in shares:
        own = share.sizes[:, share.host]
        # What a reader of fixed batches gives: full ones, then at most one smaller.
        assert (own[:-1] == batch_size).all()
        assert 0 <= own[-1] <= batch_size
        assert min(share.totals) > 0


def test_sharded_hosts_keep_what_they_were_given():
    shares = sharded_shares([5, 2, 7], host=1, batch_size=2)
    assert shares.sizes.tolist() == [[2, 2, 2], [2, 0, 2], [1, 0, 2], [0, 0, 1]]
    assert (shares.steps, shares.images, shares.updates, shares.totals) == (4, 2, 8, [6, 4, 3, 1])
    assert sorted(shares.order(seed=0, epoch=5).tolist()) == [0, 1]


def test_sharded_hosts_with_as_many_images_go_through_them_in_other_orders():
    shares = [sharded_shares([50, 50, 50], host=host, batch_size=4) for host in range(3)]
    orders = [share.order(seed=3, epoch=1).tolist() for share in shares]
    assert [sorted(order) for order in orders] == [list(range(50))] * 3
    # By chance one or two images have the same place in two orders.
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert sum(a == b for a, b in zip(orders[first], orders[second], strict=True)) < 10
    assert [share.images_before for share in shares] == [0, 50, 100]
    assert [replicated_shares(50, hosts=3, host=host, batch_size=4).images_before for host in range(3)] == [0, 0, 0]
